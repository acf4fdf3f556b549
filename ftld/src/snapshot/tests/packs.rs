//! Packs: what is found again after any kind of end.

use super::super::pack::{FULL, Packs};
use super::super::step;
use super::super::step::record::{Op, Recording};
use super::disk::{Dice, Disk};
use super::*;

fn content(n: u32) -> Vec<u8> {
    format!("content {n} ").repeat(1 + n as usize % 40).into_bytes()
}

fn fill(packs: &Packs, numbers: std::ops::Range<u32>) {
    for n in numbers {
        packs.put(Hash::of(&content(n)), &content(n)).unwrap();
    }
}

/// Which of the first contents are there, each checked.
fn found(packs: &Packs, count: u32) -> Vec<u32> {
    let is_there = |n: &u32| match packs.get(Hash::of(&content(*n))) {
        Ok(Some(bytes)) => bytes == content(*n),
        _ => false,
    };
    (0..count).filter(is_there).collect()
}

fn all(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn contents_are_found_in_complete_packs_and_in_the_newest_also_when_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 2000).unwrap();
    fill(&packs, 0..100);
    // Storing again changes nothing.
    let size = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let before: u64 = size().sum();
    fill(&packs, 0..100);
    assert_eq!(size().sum::<u64>(), before);
    assert!(packs.read().sealed.len() > 2);
    assert_eq!(found(&packs, 120), all(100));
    let packs = Packs::open(dir.path(), 2000).unwrap();
    assert_eq!(found(&packs, 120), all(100));
    fill(&packs, 100..120);
    assert_eq!(found(&Packs::open(dir.path(), 2000).unwrap(), 120), all(120));
}

#[test]
fn an_index_that_is_lost_or_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 2000).unwrap();
    fill(&packs, 0..100);
    let index = packs.index_path(1);
    drop(packs);
    fs::remove_file(&index).unwrap();
    assert_eq!(found(&Packs::open(dir.path(), 2000).unwrap(), 100), all(100));
    assert!(index.exists());
    let mut bytes = fs::read(&index).unwrap();
    *bytes.last_mut().unwrap() ^= 0xff;
    fs::write(&index, &bytes).unwrap();
    let packs = Packs::open(dir.path(), 2000).unwrap();
    packs.verify(&mut |_, _, _| {}).unwrap();
    assert_eq!(found(&packs, 100), all(100));
    assert!(packs.read().sealed[0].index.is_intact());
}

#[test]
fn a_torn_end_is_cut_at_any_byte_and_what_was_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 1 << 20).unwrap();
    fill(&packs, 0..3);
    let path = packs.path(1);
    let two = {
        let small = tempfile::tempdir().unwrap();
        let packs = Packs::open(small.path(), 1 << 20).unwrap();
        fill(&packs, 0..2);
        fs::metadata(packs.path(1)).unwrap().len() as usize
    };
    drop(packs);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(3) {
        // As a kill leaves it, and as a power cut may.
        for end in [whole[..length].to_vec(), [&whole[..length], &vec![0; whole.len() - length]].concat()] {
            fs::write(&path, end).unwrap();
            let packs = Packs::open(dir.path(), 1 << 20).unwrap();
            let left = found(&packs, 3);
            assert_eq!(left, all(left.len() as u32), "cut at {length}");
            assert!(length < two || left.len() == 2, "cut at {length}");
            // What is appended then is found.
            fill(&packs, 0..5);
            assert_eq!(found(&Packs::open(dir.path(), 1 << 20).unwrap(), 5), all(5));
        }
    }
}

#[test]
fn damage_in_the_middle_costs_what_it_hits_and_storing_it_again_heals() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 1 << 20).unwrap();
    fill(&packs, 0..30);
    let path = packs.path(1);
    drop(packs);
    let whole = fs::read(&path).unwrap();
    for at in (8..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, damaged).unwrap();
        let packs = Packs::open(dir.path(), 1 << 20).unwrap();
        assert!(found(&packs, 30).len() >= 29, "at {at}");
        fill(&packs, 0..30);
        assert_eq!(found(&packs, 30), all(30));
        assert_eq!(found(&Packs::open(dir.path(), 1 << 20).unwrap(), 30), all(30));
        // The same in a complete pack.
        fs::write(&path, &whole).unwrap();
        Packs::open(dir.path(), 1 << 20).unwrap().seal().unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, damaged).unwrap();
        let packs = Packs::open(dir.path(), 1 << 20).unwrap();
        let mut bad = 0;
        packs.verify(&mut |_, _, intact| bad += usize::from(!intact)).unwrap();
        // A check that is damaged costs no content.
        let left = found(&packs, 30).len();
        assert!(left >= 29 && left + bad == 30, "{left} left, {bad} bad at {at}");
        fill(&packs, 0..30);
        assert_eq!(found(&Packs::open(dir.path(), 1 << 20).unwrap(), 30), all(30));
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_content_that_looks_like_a_record_is_none_beyond_a_damage() {
    use super::super::packed;
    // A record that says it holds one content and holds another.
    let (claimed, held) = (Hash::of(b"the approved bytes"), b"other bytes");
    let inner = packed::encode(claimed, held).unwrap();
    assert!(packed::is_intact(&inner));
    let noise: Vec<u8> = (0..10u8).flat_map(|n| Hash::of(&[n]).0).collect();
    let hostile = [noise.as_slice(), &inner, &noise].concat();
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 1 << 20).unwrap();
    packs.put(Hash::of(&hostile), &hostile).unwrap();
    fill(&packs, 0..3);
    let path = packs.path(1);
    drop(packs);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let packs = Packs::open(dir.path(), 1 << 20).unwrap();
    assert!(packs.get(claimed).unwrap().is_none());
    assert_eq!(found(&packs, 3), all(3));
}

#[test]
fn rewriting_drops_what_is_dead_and_merges_small_packs() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 1 << 20).unwrap();
    for round in 0..6 {
        fill(&packs, round * 10..round * 10 + 10);
        packs.seal().unwrap();
    }
    assert_eq!(packs.read().sealed.len(), 6);
    let live: std::collections::HashSet<Hash> = (0..60).step_by(2).map(|n| Hash::of(&content(n))).collect();
    let is_live = |hash: Hash| live.contains(&hash);
    let dead = packs.dead(&is_live).unwrap();
    let plan = packs.plan_repack(1 << 20, &is_live).unwrap();
    // From now on the dead are as if they were not there, and one is stored again.
    assert_eq!(found(&packs, 60), (0..60).step_by(2).collect::<Vec<_>>());
    fill(&packs, 1..2);
    let (gone, damaged) = packs.repack(1 << 20, plan).unwrap();
    assert_eq!((gone, damaged.len(), packs.read().sealed.len()), (dead, 0, 1));
    let mut left: Vec<u32> = (0..60).step_by(2).chain([1]).collect();
    left.sort_unstable();
    assert_eq!(found(&packs, 60), left);
    assert_eq!(found(&Packs::open(dir.path(), 1 << 20).unwrap(), 60), left);
}

#[test]
fn many_threads_store_the_same_and_different_contents() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), 3000).unwrap();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let packs = &packs;
            scope.spawn(move || {
                fill(packs, start * 20..start * 20 + 60);
                packs.sync().unwrap();
                assert!(found(packs, 120).len() >= 60);
            });
        }
    });
    assert_eq!(found(&packs, 130), all(120));
    assert_eq!(found(&Packs::open(dir.path(), 3000).unwrap(), 130), all(120));
}

#[test]
fn a_power_cut_while_packs_are_rewritten_takes_nothing_that_is_needed() {
    // In memory where there is such a directory: what is flushed is computed.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (dir, cut) = (place.path().join("store"), place.path().join("cut"));
    fs::create_dir(&dir).unwrap();
    let recording = Recording::of(&dir);
    let packs = Packs::open(&dir.join("packs"), FULL).unwrap();
    step::sync_dir(&dir).unwrap();
    fill(&packs, 0..40);
    packs.seal().unwrap();
    let begun = recording.len();
    let needed: Vec<u32> = (0..40).step_by(3).collect();
    let is_live = |hash| needed.iter().any(|n| Hash::of(&content(*n)) == hash);
    let plan = packs.plan_repack(FULL, &is_live).unwrap();
    packs.repack(FULL, plan).unwrap();
    let ops = recording.ops();
    assert!(ops.len() > begun + 5, "{ops:?}");
    let is_named = |at: &usize| matches!(ops[*at - 1], Op::Rename { .. } | Op::Remove { .. });
    for at in (begun + 1..=ops.len()).filter(is_named) {
        let mut disk = Disk::default();
        ops[..at].iter().for_each(|op| disk.apply(op));
        for seed in 0..32 {
            fs::create_dir(&cut).unwrap();
            disk.cut(&mut Dice(seed)).write_out(&cut);
            let left = Packs::open(&cut.join("packs"), FULL).unwrap();
            let lost: Vec<&u32> = needed.iter().filter(|n| !found(&left, 40).contains(n)).collect();
            assert!(lost.is_empty(), "cut after {:?}: {lost:?}", &ops[..at].last());
            fs::remove_dir_all(&cut).unwrap();
        }
    }
}
