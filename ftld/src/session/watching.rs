//! What the doctor and sessions say about keeping up with projects.
//!
//! Owns the words and the remedies. Must not know how changes are heard of.

use std::path::Path;

use crate::sandbox::{Check, Outcome};
use crate::snapshot::{Sweeping, Watching};

/// What can be said of the projects in use. `limit` is the number of watches that a user may have, when it
/// is known.
#[must_use]
pub fn check(projects: &[Watching], limit: Option<usize>) -> Check {
    let name = "file watches".to_owned();
    let watched: usize = projects.iter().map(|project| project.directories).sum();
    let stuck = projects.iter().find_map(|project| {
        let why = project.sweeping.filter(|why| *why != Sweeping::Beginning)?;
        Some((project.project.display(), why))
    });
    let limit_said = limit.map_or_else(|| "an unknown number".to_owned(), |limit| limit.to_string());
    let detail = format!(
        "{watched} directories in {} projects, of {limit_said} that a user may watch",
        projects.len()
    );
    let Some((project, why)) = stuck else {
        return Check { name, outcome: Outcome::Ok, detail, remedy: String::new() };
    };
    let detail = format!("{detail}; every snapshot of {project} walks all of it: {why}");
    let more = limit.unwrap_or(0).max(262_144).saturating_mul(2);
    let (outcome, remedy) = match why {
        Sweeping::Watches => (Outcome::Warning, format!("sudo sysctl fs.inotify.max_user_watches={more}")),
        Sweeping::Instances => {
            (Outcome::Warning, "sudo sysctl fs.inotify.max_user_instances=1024".to_owned())
        }
        // Nothing needs mending: it is slower and no less right.
        _ => (Outcome::Ok, String::new()),
    };
    Check { name, outcome, detail, remedy }
}

/// What a session says once about the project at `root`, when something can be done about it.
#[must_use]
pub fn notice(projects: &[Watching], root: &Path) -> Option<String> {
    let why = projects.iter().find(|project| project.project == root)?.sweeping?;
    let setting = match why {
        Sweeping::Watches => "fs.inotify.max_user_watches",
        Sweeping::Instances => "fs.inotify.max_user_instances",
        _ => return None,
    };
    Some(format!(
        "every snapshot of this project walks all of it: {why}; raise {setting}, `ftlctl doctor` says how"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching(sweeping: Option<Sweeping>) -> Vec<Watching> {
        vec![Watching { project: "/p".into(), files: 9, directories: 7, sweeping, memory: 1 }]
    }

    #[test]
    fn a_session_is_told_of_a_limit_that_can_be_raised() {
        let said = |sweeping, root: &str| notice(&watching(sweeping), Path::new(root));
        let text = said(Some(Sweeping::Watches), "/p").unwrap();
        assert!(text.contains("raise fs.inotify.max_user_watches,"), "{text}");
        assert!(said(Some(Sweeping::Instances), "/p").is_some());
        assert_eq!(said(Some(Sweeping::Watches), "/other"), None);
        assert_eq!(said(Some(Sweeping::Beginning), "/p"), None);
        assert_eq!(said(Some(Sweeping::FileSystem(1)), "/p"), None);
        assert_eq!(said(None, "/p"), None);
    }

    #[test]
    fn a_limit_that_is_reached_is_named_with_its_remedy() {
        for (sweeping, outcome, remedy) in [
            (None, Outcome::Ok, ""),
            (Some(Sweeping::Beginning), Outcome::Ok, ""),
            (Some(Sweeping::FileSystem(0x6969)), Outcome::Ok, ""),
            (Some(Sweeping::Watches), Outcome::Warning, "sudo sysctl fs.inotify.max_user_watches=524288"),
            (Some(Sweeping::Instances), Outcome::Warning, "sudo sysctl fs.inotify.max_user_instances=1024"),
        ] {
            let check = check(&watching(sweeping), Some(8192));
            assert_eq!((check.outcome, check.remedy.as_str()), (outcome, remedy), "{}", check.detail);
            assert!(check.detail.starts_with("7 directories in 1 projects, of 8192 "), "{}", check.detail);
        }
        let check = check(&watching(Some(Sweeping::FileSystem(0x6969))), None);
        assert!(
            check
                .detail
                .ends_with("/p walks all of it: its file system (0x6969) does not tell of every change")
        );
    }
}
