//! The README's promises: each names a test that is there.

use ftl_tests::repo;

#[test]
fn every_promise_names_tests_that_exist() {
    let readme = std::fs::read_to_string(repo::root().join("README.md")).expect("README.md");
    let table =
        readme.split("## Promises").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the table");
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")).collect();
    assert!(rows.len() >= 10, "only {} promises", rows.len());
    let tests: String = repo::files()
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| std::fs::read_to_string(repo::root().join(path)).unwrap_or_default())
        .collect();
    for row in rows {
        let names: Vec<&str> =
            row.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            let function = name.rsplit("::").next().unwrap_or(name);
            assert!(tests.contains(&format!("fn {function}(")), "{name} does not exist: {row}");
        }
    }
}
