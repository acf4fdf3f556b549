//! What of a session's work a model is shown.
//!
//! Owns the choice among the changes that the human is shown, and that lines with a credential are withheld.
//! Their form and their limits are [`ftl_core::opinion`]'s. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ftl_core::diff::Change;
use ftl_core::id::SessionId;
use ftl_core::lint::{Added, Class, lint};
use ftl_core::opinion::{File, Material, WITHHELD, Why};
use ftl_core::refuse::Risk;
use ftl_core::review::ApproveRefused;
use ftl_core::tree::RelPath;

use super::{ModelError, ROOM, Shown};
use crate::app::Parts;
use crate::session::appraise::Appraisal;
use crate::session::decide::blocking;
use crate::session::outlet::known;
use crate::session::record::Record;
use crate::session::{Error, Reviewed, Sessions};

/// The changes that are meant, as data.
pub(super) async fn gather(
    sessions: &Sessions,
    id: &SessionId,
    reviewed: Arc<Reviewed>,
    shown: Shown,
) -> Result<Material, Error> {
    let appraiser = sessions.appraiser(id, &reviewed).await?;
    let processors = sessions.parts().user.processors;
    blocking(move || {
        let changes = chosen(reviewed.review.changes(), &shown)?;
        let appraiser = appraiser.with_renames(&changes);
        let found = appraiser.look_at_all(&changes, processors)?;
        let only = hunks(&changes, &found, &shown)?;
        let mut material = Material::new(ROOM);
        for (change, appraisal) in changes.iter().zip(&found) {
            if change.refused.is_some() {
                // Files with secrets are among them.
                material.leave_out(change.path.clone(), Why::Refused);
                continue;
            }
            if !shown.hunks.is_empty()
                && !named(&shown.paths, &change.path)
                && !only.contains_key(&change.path)
            {
                continue;
            }
            let secret = secret_lines(appraisal);
            let renamed = appraiser.renamed_from(&change.path).is_some();
            let kind = if renamed { "renamed" } else { change.kind(appraisal.binary).name() };
            let keeps_secrets = appraisal.risks.contains(&Risk::SecretFile);
            if keeps_secrets || secret.contains(&0) {
                material.leave_out(change.path.clone(), Why::Credential);
                continue;
            }
            let hunks = &appraisal.hunks;
            let only = only.get(&change.path);
            material.add(&File { path: &change.path, kind, hunks, only, secret: &secret });
        }
        match material.files() {
            0 => Err(ModelError::Nothing.into()),
            _ => Ok(material),
        }
    })
    .await
}

/// The task without its lines that hold a credential.
pub(in crate::session) async fn without_credentials(
    parts: &Arc<Parts>,
    record: &Record,
    task: String,
) -> Result<String, Error> {
    let known = known(parts, record).await?;
    let path = RelPath::new(TASK.to_vec()).map_err(|_| Error::Interrupted)?;
    blocking(move || {
        let found = lint(&path, b"", task.as_bytes(), &Added::All, &known);
        let lines: BTreeSet<u64> =
            found.iter().filter(|one| is_secret(one.class)).map(|one| one.line).collect();
        if lines.contains(&0) {
            return Ok(WITHHELD.to_owned());
        }
        let shown = |(line, at): (&'_ str, u64)| if lines.contains(&at) { WITHHELD } else { line }.to_owned();
        Ok(task.lines().zip(1..).map(shown).collect::<Vec<_>>().join("\n"))
    })
    .await
}

/// The changes at the paths that are meant.
fn chosen(changes: &[Change], shown: &Shown) -> Result<Vec<Change>, Error> {
    let of_hunks = shown.hunks.iter().filter_map(|(path, _)| path.as_ref());
    for path in shown.paths.iter().chain(of_hunks) {
        if !changes.iter().any(|change| named(std::slice::from_ref(path), &change.path)) {
            return Err(ApproveRefused::Unknown { path: path.clone() }.into());
        }
    }
    let any = shown.hunks.iter().any(|(path, _)| path.is_none());
    let all = any || (shown.paths.is_empty() && shown.hunks.is_empty());
    let is_meant = |change: &&Change| {
        let of_hunk = shown.hunks.iter().any(|(path, _)| path.as_ref() == Some(&change.path));
        all || of_hunk || named(&shown.paths, &change.path)
    };
    Ok(changes.iter().filter(is_meant).cloned().collect())
}

fn named(paths: &[RelPath], path: &RelPath) -> bool {
    paths.contains(path) || path.ancestors().any(|above| paths.contains(&above))
}

/// The hunks that are meant, by path; a path that is meant as a whole is not among them.
fn hunks(
    changes: &[Change],
    found: &[Appraisal],
    shown: &Shown,
) -> Result<BTreeMap<RelPath, BTreeSet<String>>, Error> {
    let mut only: BTreeMap<RelPath, BTreeSet<String>> = BTreeMap::new();
    for (of, name) in &shown.hunks {
        let mut is_there = false;
        for (change, appraisal) in changes.iter().zip(found) {
            if of.as_ref().is_some_and(|of| *of != change.path) {
                continue;
            }
            // A number means something only in a file.
            let number = name.parse::<usize>().ok().filter(|_| of.is_some());
            let hunks = appraisal.hunks.hunks.iter().zip(1..);
            for (hunk, _) in hunks.filter(|(hunk, at)| hunk.id == *name || number == Some(*at)) {
                is_there = true;
                only.entry(change.path.clone()).or_default().insert(hunk.id.clone());
            }
        }
        if !is_there {
            let hunk = match of {
                Some(path) => format!("{path}:{name}"),
                None => name.clone(),
            };
            return Err(ModelError::NoHunk { hunk: hunk.chars().take(200).collect() }.into());
        }
    }
    only.retain(|path, _| !named(&shown.paths, path));
    Ok(only)
}

/// What a task is called when it is searched.
const TASK: &[u8] = b"task";

fn is_secret(class: Class) -> bool {
    matches!(class, Class::Secret | Class::VendorKey)
}

/// Lines that hold a credential; 0 when it is not known which.
fn secret_lines(appraisal: &Appraisal) -> BTreeSet<u64> {
    appraisal.findings.iter().filter(|one| is_secret(one.class)).map(|one| one.line).collect()
}
