//! How one file of tests is run.
//!
//! Owns the command for each framework, which is ours and never the project's, and what a file must be to be run by
//! it. A status of its own says that the file could not be built or loaded. Must not know sandboxes.

use super::framework::Framework;

/// The status with which a run says that the file does not compile, cannot be loaded, or holds no test.
pub const NOT_BUILT: i32 = 125;

/// A file that is to be run, and what it is run with.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// How it is run.
    pub framework: Framework,
    /// Its path: plain characters only, see [`super::reply`].
    pub path: &'a str,
    /// All of it.
    pub contents: &'a str,
}

/// The other files of the project, as far as a run needs them.
pub trait Around {
    /// The paths of all files.
    fn paths(&self) -> Vec<String>;

    /// What one holds; `None` when it is not there, not text, or too long.
    fn text(&self, path: &str) -> Option<String>;
}

/// Directories whose sources are tests, which are not linked with a file of tests.
const TESTS: [&str; 5] = ["test", "tests", "t", "spec", "bench"];
/// Directories that are not the project's own sources.
const NOT_OURS: [&str; 7] = ["build", "out", "target", "vendor", "third_party", "node_modules", "examples"];
/// Sources that are linked at most.
const MOST_SOURCES: usize = 500;

/// What a file must be to be run: why it cannot be, as a part of a sentence.
#[must_use]
pub fn unfit(trial: &Trial<'_>) -> Option<&'static str> {
    let Trial { framework, path, contents } = *trial;
    let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
    let has = |signs: &[&str]| signs.iter().any(|sign| contents.contains(sign));
    let (fits, holds) = match framework {
        Framework::Unittest => (ends(&[".py"]), has(&["TestCase"]) && has(&["def test"])),
        Framework::Pytest => (ends(&[".py"]), has(&["def test"])),
        Framework::NodeTest => {
            (ends(&[".js", ".mjs", ".cjs", ".ts", ".mts"]), has(&["test(", "it(", "describe("]))
        }
        Framework::Vitest | Framework::Jest => {
            let scripts = [".js", ".mjs", ".cjs", ".ts", ".mts", ".jsx", ".tsx"];
            (ends(&scripts) && (path.contains(".test.") || path.contains(".spec.")), has(&["test(", "it("]))
        }
        Framework::Go => (ends(&["_test.go"]), !go_tests(contents).is_empty()),
        Framework::Java => (ends(&[".java"]), has(&["void main(", "@Test"])),
        Framework::Maven | Framework::Gradle => (ends(&[".java"]), has(&["@Test"])),
        Framework::Cpp => (ends(&[".cpp", ".cc", ".cxx"]), defines_main(contents)),
        Framework::Cargo => (target(path).is_some(), has(&["#[test]"])),
    };
    match (fits, holds) {
        (false, _) => Some("its name or its place is not one of the project's framework"),
        (true, false) => Some("it holds no test"),
        (true, true) => None,
    }
}

/// The command that runs a file, for a shell in the project's root. `also` names a class of the same package, or a
/// test of the same file, that is run with it.
#[must_use]
pub fn command(trial: &Trial<'_>, around: &dyn Around, also: Option<&str>) -> String {
    let path = quoted(trial.path);
    match trial.framework {
        Framework::Unittest => format!("exec python3 -I -c {} {path}", quoted(UNITTEST)),
        Framework::Pytest => {
            let run = format!("python3 -m pytest -q -p no:cacheprovider {path}");
            mapped(&run, "2|3|4|5", "", "[1-9][0-9]* (skipped|xfailed|xpassed|deselected)")
        }
        Framework::NodeTest => {
            let types = if trial.path.ends_with("ts") { "--import tsx " } else { "" };
            let run = format!("node {types}--test --test-reporter=tap {path}");
            mapped(&run, "", SCRIPT_SIGNS, "^# (skipped|todo|cancelled) [1-9]")
        }
        Framework::Vitest => {
            mapped(&format!("node_modules/.bin/vitest run {path}"), "", SCRIPT_SIGNS, SCRIPT_SKIPS)
        }
        Framework::Jest => {
            let run = format!("node_modules/.bin/jest --ci --runTestsByPath {path}");
            mapped(&run, "", SCRIPT_SIGNS, SCRIPT_SKIPS)
        }
        Framework::Go => go(trial, also),
        Framework::Java => java(trial, around, also),
        Framework::Maven => built(trial, also, "mvn --offline -q -DfailIfNoTests=true", "-Dtest=", ","),
        Framework::Gradle => built(trial, also, "gradle --offline test", "--tests ", " --tests "),
        Framework::Cpp => cpp(trial, around),
        Framework::Cargo => cargo(trial.path, around),
    }
}

/// Loads one file by its path and runs its tests. Python's own modules come first: the project has no say in them.
const UNITTEST: &str = r#"
import importlib.util, os, sys, traceback, unittest
path, root = sys.argv[1], os.getcwd()
places = [root, os.path.join(root, "src"), os.path.dirname(os.path.join(root, path))]
sys.path[:0] = [place for place in places if os.path.isdir(place)]
name = os.path.splitext(os.path.basename(path))[0]
try:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    if suite.countTestCases() == 0:
        raise SystemExit("no test in " + path)
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(125)
result = unittest.TextTestRunner(verbosity=2).run(suite)
ran = result.testsRun - len(result.skipped)
sys.stdout.flush()
sys.stderr.flush()
kept = not (result.skipped or result.expectedFailures)
if not kept:
    print("a test that is skipped, or is expected to fail, is none that passed", flush=True)
os._exit(125 if ran <= 0 else 0 if result.wasSuccessful() and kept else 1)
"#;

/// What Node and its frameworks print when a file cannot be loaded.
const SCRIPT_SIGNS: &str = "ERR_MODULE_NOT_FOUND|Cannot find module|does not provide an export named|Cannot find package|\
No test files found|No tests found|No test suite found|SyntaxError: ";

/// How the runners of scripts count tests that did not run.
const SCRIPT_SKIPS: &str = "[1-9][0-9]* (skipped|todo)";

/// Runs something and says with a status of ours that a file could not be loaded: by its own status, or by what it
/// printed when it failed. A run in which a test was skipped has not passed: the code under test can have it skipped.
fn mapped(run: &str, statuses: &str, signs: &str, skips: &str) -> String {
    let by_status =
        if statuses.is_empty() { String::new() } else { format!("case $s in {statuses}) exit 125;; esac; ") };
    let by_signs = match signs {
        "" => String::new(),
        _ => format!("if [ $s -ne 0 ] && grep -Eq {} /tmp/ftl-said; then exit 125; fi; ", quoted(signs)),
    };
    format!(
        "{run} >/tmp/ftl-said 2>&1; s=$?; cat /tmp/ftl-said; {by_status}{by_signs}\
         if [ $s -eq 0 ] && grep -Eq {} /tmp/ftl-said; then \
         echo 'a test that is skipped is none that passed'; exit 1; fi; exit $s",
        quoted(skips)
    )
}

fn go(trial: &Trial<'_>, also: Option<&str>) -> String {
    let dir = match trial.path.rsplit_once('/') {
        Some((dir, _)) => quoted(&format!("./{dir}")),
        None => ".".to_owned(),
    };
    let mut tests = go_tests(trial.contents);
    tests.extend(also);
    let tests = quoted(&format!("^({})$", tests.join("|")));
    let run = format!("go test -count=1 -v -run {tests} {dir}");
    format!("go test -c -o /tmp/ftl-test {dir} || exit 125; {}", mapped(&run, "", "", "^ *--- SKIP"))
}

/// The names of a file's test functions.
fn go_tests(contents: &str) -> Vec<&str> {
    let names = contents.lines().filter_map(|line| line.strip_prefix("func ")?.split_once('('));
    let is_name =
        |name: &&str| name.starts_with("Test") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    names.map(|(name, _)| name).filter(is_name).filter(|name| *name != "TestMain").collect()
}

fn cargo(path: &str, around: &dyn Around) -> String {
    let Some((dir, name)) = target(path) else { return format!("exit {NOT_BUILT}") };
    let manifest = if dir.is_empty() { "Cargo.toml".to_owned() } else { format!("{dir}/Cargo.toml") };
    if around.text(&manifest).is_none() {
        return format!("exit {NOT_BUILT}");
    }
    let run = format!("cargo test --offline --manifest-path {} --test {}", quoted(&manifest), quoted(name));
    format!("{run} --no-run || exit 125; exec {run}")
}

/// The directory of a crate and the name of its integration test.
fn target(path: &str) -> Option<(&str, &str)> {
    let (dir, file) = path.rsplit_once('/')?;
    let name = file.strip_suffix(".rs").filter(|name| !name.is_empty())?;
    let dir = dir.strip_suffix("tests")?;
    match dir.is_empty() {
        true => Some(("", name)),
        false => Some((dir.strip_suffix('/')?, name)),
    }
}

fn cpp(trial: &Trial<'_>, around: &dyn Around) -> String {
    let sources = sources(around, &[".cpp", ".cc", ".cxx"], trial.path, |text| !defines_main(text));
    format!(
        "c=$(command -v c++ || command -v g++ || command -v clang++) || exit 127; \
         $c -std=c++17 -O0 -pthread -I. -Iinclude -Isrc -o /tmp/ftl-test {} {sources} || exit 125; exec /tmp/ftl-test",
        quoted(trial.path)
    )
}

/// Whether a source defines a program's entry.
fn defines_main(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix("int main").or_else(|| line.strip_prefix("auto main"));
        rest.is_some_and(|rest| rest.trim_start().starts_with('('))
    })
}

/// Where the jars of Debian's JUnit 4 lie; those that are not there do no harm.
const JARS: &str =
    "/usr/share/java/junit4.jar:/usr/share/java/hamcrest-core.jar:/usr/share/java/hamcrest.jar";

fn java(trial: &Trial<'_>, around: &dyn Around, also: Option<&str>) -> String {
    let sources = sources(around, &[".java"], trial.path, |_| true);
    let own = class(trial);
    let with = also.map(|name| (quoted(&beside(trial.path, name)), qualified(trial.contents, name)));
    let runs = match (is_junit(trial.contents), &with) {
        (true, Some((_, also))) => format!("org.junit.runner.JUnitCore {own} {also}"),
        (true, None) => format!("org.junit.runner.JUnitCore {own}"),
        // It calls the other one's.
        (false, Some((_, also))) => also.clone(),
        (false, None) => own,
    };
    let more = with.map(|(path, _)| path).unwrap_or_default();
    format!(
        "mkdir -p /tmp/ftl-classes && javac -nowarn -encoding UTF-8 -d /tmp/ftl-classes -cp {JARS} {} {more} {sources} \
         || exit 125; exec java -ea -cp {JARS}:/tmp/ftl-classes {runs}",
        quoted(trial.path)
    )
}

/// One class by a build tool.
fn built(trial: &Trial<'_>, also: Option<&str>, tool: &str, option: &str, and: &str) -> String {
    let own = class(trial);
    let classes = match also {
        Some(also) => format!("{own}{and}{}", qualified(trial.contents, also)),
        None => own,
    };
    let (goal, wrapper) = if tool.starts_with("mvn") { (" test", "mvnw") } else { ("", "gradlew") };
    let (program, rest) = tool.split_once(' ').unwrap_or((tool, ""));
    let run = format!("$t {rest} {option}{classes}{goal}");
    let find = format!("t=$(command -v {program}) || t=./{wrapper}; [ -x \"$t\" ] || exit 127; ");
    let signs = "COMPILATION ERROR|compileTestJava FAILED|No tests found|No tests were executed";
    find + &mapped(&run, "", signs, "Skipped: [1-9]|SKIPPED")
}

/// Whether a Java source's tests are JUnit's.
pub(super) fn is_junit(contents: &str) -> bool {
    contents.contains("org.junit")
}

/// A class's name with the package of a source.
pub(super) fn qualified(contents: &str, class: &str) -> String {
    match package(contents) {
        Some(package) => format!("{package}.{class}"),
        None => class.to_owned(),
    }
}

/// The package of a Java source.
pub(super) fn package(contents: &str) -> Option<&str> {
    let name =
        contents.lines().find_map(|line| line.trim().strip_prefix("package ")?.split(';').next())?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn class(trial: &Trial<'_>) -> String {
    let file = trial.path.rsplit('/').next().unwrap_or(trial.path);
    qualified(trial.contents, file.strip_suffix(".java").unwrap_or(file))
}

/// The path of a Java class in the directory of another one's.
pub(super) fn beside(path: &str, class: &str) -> String {
    match path.rsplit_once('/') {
        Some((dir, _)) => format!("{dir}/{class}.java"),
        None => format!("{class}.java"),
    }
}

/// The project's own sources that are linked with a file of tests, as words of a shell.
fn sources(around: &dyn Around, ends: &[&str], own: &str, fits: impl Fn(&str) -> bool) -> String {
    let is_meant = |path: &String| {
        let mut dirs = path.split('/').rev().skip(1);
        path != own
            && ends.iter().any(|end| path.ends_with(end))
            && !dirs.any(|dir| TESTS.contains(&dir) || NOT_OURS.contains(&dir) || dir.starts_with('.'))
    };
    let found = around.paths().into_iter().filter(is_meant);
    let fitting = found.filter(|path| around.text(path).is_some_and(|text| fits(&text)));
    // A name that begins with a hyphen would be an option.
    fitting.take(MOST_SOURCES).map(|path| quoted(&format!("./{path}"))).collect::<Vec<_>>().join(" ")
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
