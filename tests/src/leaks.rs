//! Looks for values that must not be in a sandbox, from outside of it.
//!
//! Owns the search of files, environments, command lines and memory, and the forms that a value can hide in.
//! Must not know why a value must not be there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Directories of a sandbox that something can write into.
const WRITABLE: [&str; 9] =
    ["workspace", "home", "root", "tmp", "var/tmp", "dev/shm", "run", "etc", "var/lib"];
/// Bytes of memory read at once; a value may lie across two reads, so they overlap.
const CHUNK: usize = 1 << 20;
const OVERLAP: usize = 4096;
/// Files larger than this hold no value that a test put there.
const LARGEST: u64 = 64 << 20;

/// Forms of one value that would give it away.
#[must_use]
pub fn forms(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let mut forms = vec![bytes.to_vec(), bytes.iter().rev().copied().collect()];
    let hex = |upper: bool| -> String {
        bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
    };
    forms.extend([hex(false).into_bytes(), hex(true).into_bytes()]);
    for shift in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([&b"..."[..shift], bytes].concat());
        // The first and last characters depend on what stands beside the value.
        let core = &encoded[[0, 2, 3][shift]..encoded.len() - 2];
        forms.push(core.replace('+', "-").replace('/', "_").into_bytes());
        forms.push(core.as_bytes().to_vec());
    }
    let escaped = |form: &dyn Fn(u8) -> String| -> Vec<u8> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let all = bytes.iter().map(|byte| if plain(*byte) { char::from(*byte).into() } else { form(*byte) });
        all.collect::<String>().into_bytes()
    };
    forms.push(escaped(&|byte| format!("%{byte:02X}")));
    forms.push(escaped(&|byte| format!("%{byte:02x}")));
    forms.push(escaped(&|byte| format!("&#{byte};")));
    forms.push(bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect());
    forms.push(bytes.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect());
    forms.push(bytes.iter().flat_map(|byte| format!("\\u{byte:04x}").into_bytes()).collect());
    forms.push(value.replace('/', "\\/").into_bytes());
    // As UTF-16 is what Java and JavaScript hold.
    forms.push(bytes.iter().flat_map(|byte| [*byte, 0]).collect());
    forms.sort();
    forms.dedup();
    forms
}

fn automaton(values: &[&str]) -> AhoCorasick {
    let forms = values.iter().flat_map(|value| forms(value));
    AhoCorasick::new(forms).expect("a handful of short forms")
}

/// Whether any form of any value is in these bytes.
#[must_use]
pub fn holds(bytes: &[u8], values: &[&str]) -> bool {
    automaton(values).is_match(bytes)
}

/// Files beneath a directory that hold a value, or are named by one. Paths in `but` are left out.
#[must_use]
pub fn in_files(root: &Path, values: &[&str], but: &[PathBuf]) -> Vec<String> {
    let forms = automaton(values);
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    let mut seen = HashSet::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if but.contains(&path) {
                continue;
            }
            let name = entry.file_name().into_encoded_bytes();
            let link = fs::read_link(&path).map(|to| to.into_os_string().into_encoded_bytes());
            let content = if meta.is_dir() {
                dirs.push(path.clone());
                Vec::new()
            } else if meta.is_file() && meta.len() < LARGEST && seen.insert((meta.dev(), meta.ino())) {
                fs::read(&path).unwrap_or_default()
            } else {
                link.unwrap_or_default()
            };
            if forms.is_match(&content) || forms.is_match(&name) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// What a sandbox's processes have: command lines, environments, memory, and the files that they can write.
#[derive(Debug)]
pub struct Processes {
    /// How many processes were searched.
    pub searched: usize,
    /// Where a value was found.
    pub found: Vec<String>,
}

/// Searches processes.
#[must_use]
pub fn in_processes(pids: Vec<i32>, values: &[&str]) -> Processes {
    let forms = automaton(values);
    let mut all = Processes { searched: 0, found: Vec::new() };
    let mut roots = HashSet::new();
    for pid in pids {
        let at = PathBuf::from(format!("/proc/{pid}"));
        let mut searched = false;
        for part in ["environ", "cmdline"] {
            let content = fs::read(at.join(part)).unwrap_or_default();
            searched |= !content.is_empty();
            if forms.is_match(&content) {
                all.found.push(format!("{part} of {pid}"));
            }
        }
        if in_memory(&at, &forms) {
            let name = fs::read_to_string(at.join("comm")).unwrap_or_default();
            all.found.push(format!("memory of {pid} {}", name.trim()));
        }
        all.searched += usize::from(searched);
        let space = fs::read_link(at.join("ns/mnt")).unwrap_or_default();
        let ours = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
        if space != ours && roots.insert(space) {
            let dirs = WRITABLE.iter().map(|dir| at.join("root").join(dir));
            all.found.extend(dirs.flat_map(|dir| in_files(&dir, values, &[])));
        }
    }
    all
}

/// Every process that descends from one.
#[must_use]
pub fn descendants(of: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // A name may hold spaces and parentheses; the parent is the second field behind the last one.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// Every process in the same network namespace as one.
#[must_use]
pub fn in_network_of(pid: i32) -> Vec<i32> {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let Some(wanted) = space(pid) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| space(*pid).as_ref() == Some(&wanted)).collect()
}

fn in_memory(process: &Path, forms: &AhoCorasick) -> bool {
    let Ok(memory) = fs::File::open(process.join("mem")) else { return false };
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    let mut buffer = vec![0; CHUNK + OVERLAP];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        // What cannot be written came from a file, and files are searched for themselves.
        if !rights.starts_with("rw") {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        let parse = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let (mut at, to) = (parse(from), parse(to));
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            let got = memory.read_at(&mut buffer[..want], at).unwrap_or(0);
            if got == 0 {
                break;
            }
            if forms.is_match(&buffer[..got]) {
                return true;
            }
            if got < want || at + want as u64 >= to {
                break;
            }
            at += CHUNK as u64;
        }
    }
    false
}
