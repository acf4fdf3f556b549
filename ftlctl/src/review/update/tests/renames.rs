//! Files that are found under another name.

use super::*;

#[test]
fn both_names_of_a_file_are_chosen_together_and_it_is_said() {
    let sample = |needs_naming| {
        let mut new = sample::file(
            "b/new",
            v1::EntryKind::Renamed,
            vec![sample::hunk("h", 1, &["-a", "+b"]), sample::hunk("k", 20, &["+c"])],
        );
        new.renamed_from = b"a/old".to_vec();
        let mut old = sample::file("a/old", v1::EntryKind::Deleted, Vec::new());
        old.needs_naming = needs_naming;
        let mut state = state();
        state.document = Document::new(state.document.header.clone());
        [old, new].into_iter().for_each(|entry| state.document.push(entry));
        state.document.is_complete = true;
        state
    };
    for (file, keys, wanted) in [
        ("b/new", "A", "a/old b/new"),
        ("a/old", "A", "a/old b/new"),
        ("b/new", "a", "a/old h[]"),
        ("b/new", "AD", ""),
        ("a/old", "AD", ""),
    ] {
        let mut state = sample(false);
        let place = state.document.place(file.as_bytes()).unwrap();
        state.reveal(place);
        press(&mut state, "<Enter>");
        press(&mut state, keys);
        assert_eq!(chosen(&state), wanted, "{file} {keys}");
        let said = state.message.as_ref().unwrap().1.clone();
        assert!(said.contains("the file's other name"), "{said}");
    }
    let mut state = sample(true);
    state.reveal(state.document.place(b"b/new").unwrap());
    press(&mut state, "<Enter>A");
    assert_eq!(chosen(&state), "b/new", "what must be chosen by itself is");
}
