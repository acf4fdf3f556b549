//! The query of a request, parameter by parameter.
//!
//! Owns how it is split and decoded, and the replacing of one value that leaves every other byte alone.
//! Must not know which parameters are credentials.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What is encoded in a value: everything but the unreserved characters of RFC 3986.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One parameter, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value: String,
}

/// The parameters between `&`, in their order; a place in this list names one to [`replace`].
pub(super) fn parameters(query: &str) -> Vec<Parameter> {
    query.split('&').map(parameter).collect()
}

/// What a server would see that splits at `;` as well, beyond [`parameters`].
pub(super) fn hidden_parameters(query: &str) -> Vec<Parameter> {
    query
        .split('&')
        .filter(|part| part.contains(';'))
        .flat_map(|part| part.split(';').map(parameter))
        .collect()
}

/// The query with another value of the parameter at `place`; `None` when there is none.
pub(super) fn replace(query: &str, place: usize, value: &str) -> Option<String> {
    let mut parts: Vec<String> = query.split('&').map(str::to_owned).collect();
    let part = parts.get_mut(place)?;
    let name = part.split_once('=').map(|(name, _)| name)?;
    *part = format!("{name}={}", utf8_percent_encode(value, VALUE));
    Some(parts.join("&"))
}

fn parameter(part: &str) -> Parameter {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    Parameter { name: decode(name), value: decode(value) }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_replaced_and_the_rest_stays() {
        let query = "a=%41+b&&k%65y=old&c&d=%2f;e=1";
        let names: Vec<_> = parameters(query).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["a", "", "key", "c", "d"]);
        assert_eq!(parameters(query)[0].value, "A b");
        let new = replace(query, 2, "n&w=1/é").unwrap();
        assert_eq!(new, "a=%41+b&&k%65y=n%26w%3D1%2F%C3%A9&c&d=%2f;e=1");
        assert_eq!(parameters(&new)[2].value, "n&w=1/é");
        assert_eq!(replace(query, 9, ""), None);
        assert_eq!(hidden_parameters(query)[1], Parameter { name: "e".into(), value: "1".into() });
    }
}
