//! Letters that look like Latin ones and are not.
//!
//! Owns which they are and where one is suspicious: in a word that has Latin letters too. A word of one
//! script is a word of its language, and stays as it is. Must not know how it is shown.

/// Ranges of characters that nobody can tell from Latin letters or digits.
const RANGES: [(char, char); 4] = [
    // Cherokee.
    ('\u{13a0}', '\u{13f5}'),
    // Roman numerals that are one character each.
    ('\u{2160}', '\u{217f}'),
    // Full width.
    ('\u{ff10}', '\u{ff5a}'),
    // Mathematical letters and digits.
    ('\u{1d400}', '\u{1d7ff}'),
];

/// Single characters: Cyrillic, Greek, Armenian, letter-like symbols, phonetic ones and clicks.
const SINGLE: &str = "аеорсухіјѕһӏԁԛԝүАВЕЗКМНОРСТУХІЈЅҮԌԚԜ\
ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοινυκρϲϳ\
օսհոցյՍՕℂℊℋℌℍℎℐℑℒℓℕℙℚℛℜℝℤℨKℬℭℯℰℱℳℴℹⅅⅆⅇⅈⅉɑɡɩʀʏɪꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓞꓟꓠꓡꓢꓣꓦꓧꓮꓰꓲꓳꓴꓸǀǃ";

/// Byte offsets of the suspicious characters, in order. Costs nothing for ASCII.
pub(crate) fn positions(text: &str) -> Vec<usize> {
    if text.is_ascii() {
        return Vec::new();
    }
    let (mut found, mut word, mut is_latin) = (Vec::new(), Vec::new(), false);
    let mut end = |word: &mut Vec<usize>, is_latin: &mut bool| {
        if std::mem::take(is_latin) {
            found.append(word);
        }
        word.clear();
    };
    for (at, char) in text.char_indices() {
        if !(char.is_alphanumeric() || char == '_' || is_alike(char)) {
            end(&mut word, &mut is_latin);
            continue;
        }
        is_latin |= char.is_ascii_alphabetic();
        if is_alike(char) {
            word.push(at);
        }
    }
    end(&mut word, &mut is_latin);
    found
}

fn is_alike(char: char) -> bool {
    !char.is_ascii()
        && (RANGES.iter().any(|(first, last)| (*first..=*last).contains(&char)) || SINGLE.contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_of_another_script_is_found_among_latin_ones() {
        let table: [(&str, &[usize]); 10] = [
            ("plain", &[]),
            ("p\u{430}ypal", &[1]),
            ("\u{455}cope = s\u{441}ope", &[0, 10]),
            ("is_\u{391}dmin", &[3]),
            ("\u{ff41}bc", &[0]),
            ("x\u{1d4b6}", &[1]),
            // Words of one script, however they look, and letters that look like no Latin one.
            ("\u{440}\u{43e}\u{441}\u{442} \u{430} x", &[]),
            ("\u{394}x na\u{ef}ve \u{6f22}a \u{b5}s", &[]),
            ("\u{430}-b", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(positions(text), expected, "{text}");
        }
    }
}
