//! Prints the manual.

use manual::layout::indent;

fn main() {
    println!("{}", indent("manual: prints this", 2));
}
