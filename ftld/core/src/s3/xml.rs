//! What the service says in XML.
//!
//! Owns which elements count. The bytes may come from anybody who answers in the service's place: what is
//! read of them is bounded, entities of a document's own are errors, and nothing nests on the stack.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest element that is looked at.
const DEEPEST: usize = 16;
/// Longest text of one element that is kept, bytes.
const LONGEST: usize = 4096;

/// An answer that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum XmlError {
    /// It is not XML, or of a kind that no service sends.
    #[error("the answer is not the XML of an S3 service")]
    Malformed,
    /// It has no element that must be there.
    #[error("the answer has no {0}")]
    Lacks(&'static str),
}

/// Why the service did not do something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fault {
    /// The service's word for it, such as `NoSuchBucket`.
    pub code: String,
    /// Its sentence.
    pub message: String,
    /// The region in which it wants to be asked.
    pub region: Option<String>,
}

/// A part of a listing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Keys, in the order in which they come.
    pub keys: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

/// A part of a listing.
///
/// # Errors
/// When it is none.
pub fn page(bytes: &[u8]) -> Result<Page, XmlError> {
    let mut page = Page::default();
    let root = read(bytes, &mut |path, text| match path {
        ["ListBucketResult", "Contents", "Key"] => page.keys.push(text),
        ["ListBucketResult", "IsTruncated"] => page.more = text == "true",
        _ => {}
    })?;
    if root == "ListBucketResult" { Ok(page) } else { Err(XmlError::Lacks("listing")) }
}

/// The id of an upload that was begun.
///
/// # Errors
/// When there is none.
pub fn upload_id(bytes: &[u8]) -> Result<String, XmlError> {
    let mut id = None;
    read(bytes, &mut |path, text| {
        if path == ["InitiateMultipartUploadResult", "UploadId"] {
            id = Some(text);
        }
    })?;
    id.filter(|id| !id.is_empty()).ok_or(XmlError::Lacks("upload id"))
}

/// The fault that an answer tells of; `None` when it tells of none.
#[must_use]
pub fn fault(bytes: &[u8]) -> Option<Fault> {
    let mut fault = Fault::default();
    let root = read(bytes, &mut |path, text| match path {
        ["Error", "Code"] => fault.code = text,
        ["Error", "Message"] => fault.message = text,
        ["Error", "Region"] => fault.region = Some(text),
        _ => {}
    });
    (root.ok()? == "Error").then_some(fault)
}

/// Shows every element that holds text alone, with the names that lead to it; gives the root's name.
fn read(bytes: &[u8], see: &mut dyn FnMut(&[&str], String)) -> Result<String, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Malformed)?;
    let mut reader = Reader::from_str(text);
    let (mut path, mut held): (Vec<String>, String) = (Vec::new(), String::new());
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| XmlError::Malformed)? {
            Event::Start(start) => {
                if path.len() >= DEEPEST || (path.is_empty() && root.is_some()) {
                    return Err(XmlError::Malformed);
                }
                held.clear();
                path.push(start.local_name().as_ref().to_owned());
                root.get_or_insert_with(|| path.concat());
            }
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                see(&names, std::mem::take(&mut held));
                path.pop();
            }
            Event::Text(text) => held.push_str(&text.xml10_content()),
            Event::CData(text) => held.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(one)) => held.push(one),
                Ok(None) => held.push(entity(&name.xml10_content()).ok_or(XmlError::Malformed)?),
                Err(_) => return Err(XmlError::Malformed),
            },
            Event::DocType(_) => return Err(XmlError::Malformed),
            Event::Empty(start) if root.is_none() => {
                root = Some(start.local_name().as_ref().to_owned());
            }
            Event::Empty(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
        if held.len() > LONGEST {
            return Err(XmlError::Malformed);
        }
    }
    match root {
        Some(root) if path.is_empty() => Ok(root),
        _ => Err(XmlError::Malformed),
    }
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_services_say_is_read() {
        let listing = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>one</Name><IsTruncated>true</IsTruncated>
            <Contents><Key>a&amp;b&#x2F;c</Key><Size>3</Size><Owner><ID>x</ID></Owner></Contents>
            <Contents><Key>d</Key></Contents><CommonPrefixes><Prefix>p</Prefix></CommonPrefixes></ListBucketResult>"#;
        let wanted = Page { keys: vec!["a&b/c".into(), "d".into()], more: true };
        assert_eq!(page(listing).unwrap(), wanted);
        assert_eq!(page(b"<ListBucketResult/>").unwrap(), Page::default());
        let upload = b"<InitiateMultipartUploadResult><Bucket>b</Bucket><UploadId>u-1</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(upload_id(upload).unwrap(), "u-1");
        let error = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-1</Region></Error>";
        let wanted = Fault {
            code: "AuthorizationHeaderMalformed".into(),
            message: "wrong".into(),
            region: Some("eu-west-1".into()),
        };
        assert_eq!(fault(error), Some(wanted));
        assert_eq!(fault(listing), None);
    }

    #[test]
    fn what_no_service_says_is_an_error() {
        let deep = "<a>".repeat(100_000);
        let long = format!("<ListBucketResult><Key>{}</Key></ListBucketResult>", "x".repeat(LONGEST + 1));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\">]><ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>";
        let own = "<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>";
        for bytes in
            ["", "<html>", "no xml", "<html></html>", "<ListBucketResult><Contents>", &deep, &long, bomb, own]
        {
            assert!(page(bytes.as_bytes()).is_err(), "{:.60}", bytes);
        }
        assert!(page(b"<ListBucketResult>\xff</ListBucketResult>").is_err());
        assert_eq!(upload_id(b"<Error><UploadId>x</UploadId></Error>"), Err(XmlError::Lacks("upload id")));
        assert_eq!(fault(b"<html><Error><Code>x</Code></Error></html>"), None);
    }

    proptest! {
        #[test]
        fn hostile_answers_never_panic(text in "(<|>|/|&|;|!|\\[|\\]|\"|Error|Code|Contents|Key|ListBucketResult|DOCTYPE|CDATA|#x?|[0-9a-f]|.){0,120}") {
            let _ = (page(text.as_bytes()), upload_id(text.as_bytes()), fault(text.as_bytes()));
        }

        #[test]
        fn a_key_is_read_as_it_was_written(key in "[a-zA-Z0-9/&<>\"' .-]{0,80}") {
            let escaped = quick_xml::escape::escape(key.as_str());
            let text = format!("<ListBucketResult><Contents><Key>{escaped}</Key></Contents></ListBucketResult>");
            prop_assert_eq!(page(text.as_bytes()).unwrap().keys, [key]);
        }
    }
}
