//! What a human wants of a session's work, from the wire.
//!
//! Owns the conversion. Must not decide: what is not a selection is an invalid argument.

use std::collections::BTreeMap;

use ftl_core::review::{Resolution, Wanted};
use ftl_core::select::{Choice, HunkName};
use ftl_core::three::Decision;
use ftl_core::tree::RelPath;
use ftl_proto::v1;
use tonic::Status;

use super::convert;
use crate::session::Asked;

/// A selection of whole paths, unless there is another one.
///
/// # Errors
/// When there are both.
pub(super) fn of_paths(
    paths: Vec<Vec<u8>>,
    selection: Option<v1::Selection>,
) -> Result<v1::Selection, Status> {
    match selection {
        None => Ok(v1::Selection { paths, parts: Vec::new() }),
        Some(selection) if paths.is_empty() => Ok(selection),
        Some(_) => Err(Status::invalid_argument("`paths` and `selection` are both given")),
    }
}

/// What is wanted and let pass.
///
/// # Errors
/// When something in it is not what it should be.
pub(super) fn asked(
    selection: Option<v1::Selection>,
    resolutions: Vec<v1::Resolution>,
    accepted: Vec<v1::Accepted>,
) -> Result<Asked, Status> {
    let v1::Selection { paths, parts } = selection.unwrap_or_default();
    let paths = convert::rel_paths(paths)?;
    let mut of: BTreeMap<RelPath, Vec<Choice>> = BTreeMap::new();
    for v1::Part { path, hunks } in parts {
        let path = rel_path(path)?;
        if paths.contains(&path) {
            return Err(Status::invalid_argument(format!("{path} is chosen as a whole and in parts")));
        }
        let choices: Result<Vec<Choice>, Status> = hunks.into_iter().map(choice).collect();
        of.entry(path).or_default().extend(choices?);
    }
    if let Some((path, _)) = of.iter().find(|(_, choices)| choices.is_empty()) {
        return Err(Status::invalid_argument(format!("no hunk of {path} is chosen")));
    }
    let resolutions: Result<Vec<Resolution>, Status> = resolutions.into_iter().map(resolution).collect();
    let wanted = Wanted { paths, parts: of, resolutions: resolutions?, ..Wanted::default() };
    if let Some(one) = accepted.iter().find(|one| one.why.trim().is_empty()) {
        let what = format!("finding {} is accepted without a reason", one.finding);
        return Err(Status::invalid_argument(what));
    }
    let accepted = accepted.into_iter().map(|one| (one.finding, one.why)).collect();
    Ok(Asked { wanted, accepted, shown: String::new() })
}

fn rel_path(path: Vec<u8>) -> Result<RelPath, Status> {
    RelPath::new(path).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn choice(choice: v1::HunkChoice) -> Result<Choice, Status> {
    let hunk = HunkName::parse(&choice.hunk).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let lines = choice.lines.into_iter().map(|range| range.first..range.first.saturating_add(range.count));
    Ok(Choice { hunk, lines: lines.collect(), edited: choice.edited })
}

fn resolution(one: v1::Resolution) -> Result<Resolution, Status> {
    let decision = match one.decision() {
        v1::Decision::Ours => Decision::Ours,
        v1::Decision::Theirs => Decision::Theirs,
        v1::Decision::Both => Decision::Both,
        v1::Decision::Edited => Decision::Edited(one.bytes),
        v1::Decision::Unspecified => {
            return Err(Status::invalid_argument("a resolution does not say what becomes of its conflict"));
        }
    };
    Ok(Resolution { path: rel_path(one.path)?, number: one.number, decision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_selection_is_refused() {
        let part = |hunk: &str| v1::Part {
            path: b"a".to_vec(),
            hunks: vec![v1::HunkChoice { hunk: hunk.into(), ..Default::default() }],
        };
        let of = |paths: Vec<Vec<u8>>, parts| asked(Some(v1::Selection { paths, parts }), vec![], vec![]);
        assert!(
            of(vec![], vec![part("1"), part("2")]).unwrap().wanted.parts[&RelPath::new("a").unwrap()].len()
                == 2
        );
        assert!(of(vec![b"a".to_vec()], vec![part("1")]).is_err());
        assert!(of(vec![], vec![part("0")]).is_err());
        assert!(of(vec![], vec![v1::Part { path: b"a".to_vec(), hunks: vec![] }]).is_err());
        assert!(of(vec![b"../a".to_vec()], vec![]).is_err());
        let pass =
            |why: &str| asked(None, vec![], vec![v1::Accepted { finding: "f".into(), why: why.into() }]);
        assert!(pass(" ").is_err() && pass("it is a test value").is_ok());
        let unsaid = v1::Resolution { path: b"a".to_vec(), ..Default::default() };
        assert!(asked(None, vec![unsaid], vec![]).is_err());
        assert!(of_paths(vec![b"a".to_vec()], Some(v1::Selection::default())).is_err());
    }
}
