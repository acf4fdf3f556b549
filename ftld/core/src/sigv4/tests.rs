//! The published examples, and what is refused.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut map = HeaderMap::new();
    pairs.iter().map(one).for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

fn inbound(scope: &str, names: &str, signature: &str) -> Inbound {
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}/aws4_request, SignedHeaders={names}, Signature={signature}"
    );
    Inbound::parse(&value).unwrap()
}

/// An example of the test suite: method, target, headers beside host and date, body, signature.
type Example<'a> = (&'a str, &'a str, &'a [(&'static str, &'a str)], &'a str, &'a str);

const EXAMPLES: [Example<'static>; 17] = [
    ("GET", "/", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("GET", "//", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "/./", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "/example/..", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "GET",
        "/example1/example2/../..",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    ("GET", "//example//", &[], "", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("GET", "/example space/", &[], "", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    ("GET", "/\u{1234}", &[], "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "GET",
        "/?Param2=value2&Param1=value1",
        &[],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "GET",
        "/?Param1=value2&Param1=value1",
        &[],
        "",
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    ),
    ("GET", "/?\u{1234}=bar", &[], "", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    (
        "GET",
        "/",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "GET",
        "/",
        &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "POST",
        "/",
        &[("content-type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "POST",
        "/",
        &[("my-header1", "value1")],
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
];

#[test]
fn the_examples_of_the_test_suite_verify() {
    for (method, target, extra, body, signature) in EXAMPLES {
        let mut map = headers(extra);
        let mut names: Vec<String> = map.keys().map(|name| name.as_str().to_owned()).collect();
        names.extend(["host".to_owned(), "x-amz-date".to_owned()]);
        names.sort();
        map.insert(DATE, HeaderValue::from_static("20150830T123600Z"));
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let request = Unsigned { method, host: "example.amazonaws.com", path, query };
        let inbound = inbound("20150830/us-east-1/service", &names.join(";"), signature);
        let verify =
            |secret| inbound.verify(&request, &map, &payload_hash(body.as_bytes()), secret, 1_440_938_160);
        assert_eq!(verify(SECRET), Ok(()), "{method} {target} {extra:?}");
        assert_eq!(verify("another"), Err(SigV4Error::BadSignature));
    }
}

#[test]
fn the_examples_of_the_documentation_verify() {
    let request = Unsigned {
        method: "GET",
        host: "iam.amazonaws.com",
        path: "/",
        query: Some("Action=ListUsers&Version=2010-05-08"),
    };
    let map = headers(&[
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("x-amz-date", "20150830T123600Z"),
    ]);
    let users = inbound(
        "20150830/us-east-1/iam",
        "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    );
    assert_eq!(users.verify(&request, &map, EMPTY, SECRET, 1_440_938_160), Ok(()));

    for (path, query, extra, signature) in [
        (
            "/test.txt",
            None,
            Some(("range", "bytes=0-9")),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        ("/", Some("lifecycle"), None, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/",
            Some("max-keys=2&prefix=J"),
            None,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let host = "examplebucket.s3.amazonaws.com";
        let request = Unsigned { method: "GET", host, path, query };
        let mut pairs = vec![("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
        pairs.extend(extra);
        let names = match extra {
            Some(_) => "host;range;x-amz-content-sha256;x-amz-date",
            None => "host;x-amz-content-sha256;x-amz-date",
        };
        let inbound = inbound("20130524/us-east-1/s3", names, signature);
        assert_eq!(
            inbound.verify(&request, &headers(&pairs), EMPTY, S3_SECRET, 1_369_353_600),
            Ok(()),
            "{path}"
        );
    }
}

#[test]
fn signing_anew_keeps_the_meaning_and_replaces_what_was_the_sandboxs() {
    let sent = inbound("20150830/eu-west-1/s3", "host;range;x-amz-acl;x-amz-date", &"0".repeat(64));
    let mut map = headers(&[
        ("authorization", "AWS4-HMAC-SHA256 Credential=SHADOW"),
        ("x-amz-date", "20150830T123600Z"),
        ("date", "Sun, 30 Aug 2015 12:36:00 GMT"),
        ("x-amz-security-token", "shadow-token"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-acl", "private"),
        ("x-amz-meta-name", "v"),
        ("range", "bytes=0-9"),
        ("accept", "*/*"),
    ]);
    let request =
        Unsigned { method: "PUT", host: "b.s3.eu-west-1.amazonaws.com", path: "/a%20b//../c", query: None };
    let keys = Keys { key_id: "AKIAREAL", secret: S3_SECRET, token: Some("real-token") };
    sent.sign(&request, &mut map, "UNSIGNED-PAYLOAD", &keys, 1_440_938_161).unwrap();
    assert_eq!(map["x-amz-date"], "20150830T123601Z");
    assert_eq!(map["x-amz-security-token"], "real-token");
    assert!(map["x-amz-security-token"].is_sensitive() && map["authorization"].is_sensitive());
    assert_eq!(map["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert!(!map.contains_key("date"));
    let new = Inbound::parse(map["authorization"].to_str().unwrap()).unwrap();
    assert_eq!(new.key_id, "AKIAREAL");
    let names = [
        "host",
        "x-amz-acl",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-meta-name",
        "x-amz-security-token",
    ];
    assert_eq!(new.signed_headers, names);
    assert_eq!(new.verify(&request, &map, "UNSIGNED-PAYLOAD", S3_SECRET, 1_440_938_161), Ok(()));
}

#[test]
fn what_cannot_be_signed_anew_is_refused_by_its_own_reason() {
    let hex = "0".repeat(64);
    let rest =
        format!("Credential=K/20150830/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={hex}");
    let long = "x".repeat(9000);
    for (value, error) in [
        (format!("AWS4-ECDSA-P256-SHA256 {rest}"), SigV4Error::Asymmetric),
        (format!("AWS4-HMAC-SHA256-PAYLOAD {rest}"), SigV4Error::SignedChunks),
        (format!("aws4-hmac-sha256 {rest}"), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {rest}, Signature={hex}"), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {rest}, Extra=1"), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {rest}{long}"), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {}", rest.replace("s3", "s3/x")), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {}", rest.replace("us-east-1", "us-east-1\n")), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {}", rest.replace("=host", "=x")), SigV4Error::Malformed),
        (format!("AWS4-HMAC-SHA256 {}", rest.replace("=K/", "=/")), SigV4Error::Malformed),
        ("AWS4-HMAC-SHA256".to_owned(), SigV4Error::Malformed),
    ] {
        assert_eq!(Inbound::parse(&value), Err(error), "{value}");
    }
    let inbound = inbound("20150830/us-east-1/s3", "host", &hex);
    for (value, wanted) in [
        (EMPTY, Ok(PayloadMode::Hash(EMPTY.to_owned()))),
        ("UNSIGNED-PAYLOAD", Ok(PayloadMode::Unsigned)),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Ok(PayloadMode::StreamingUnsignedTrailer)),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Err(SigV4Error::SignedChunks)),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Err(SigV4Error::SignedChunks)),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", Err(SigV4Error::Asymmetric)),
        ("STREAMING-ELSE", Err(SigV4Error::UnknownPayload)),
        ("", Err(SigV4Error::UnknownPayload)),
    ] {
        assert_eq!(inbound.payload(&headers(&[("x-amz-content-sha256", value)])), wanted, "{value}");
    }
    assert_eq!(inbound.payload(&headers(&[])), Ok(PayloadMode::NeedsBody(LARGEST_BODY)));
}

#[test]
fn a_date_too_far_from_the_clock_is_refused() {
    let sent = inbound("20150830/us-east-1/s3", "host", &"0".repeat(64));
    let request = Unsigned { method: "GET", host: "s3.amazonaws.com", path: "/", query: None };
    for (date, now, error) in [
        ("20150830T123600Z", 1_440_938_160, SigV4Error::BadSignature),
        ("20150830T123600Z", 1_440_938_460, SigV4Error::BadSignature),
        ("20150830T123600Z", 1_440_938_461, SigV4Error::Skewed),
        ("20150830T123600Z", 1_440_937_859, SigV4Error::Skewed),
        ("20150831T000000Z", 1_440_979_200, SigV4Error::Malformed),
        ("20150830T256000Z", 1_440_938_160, SigV4Error::Malformed),
        ("2015-08-30", 1_440_938_160, SigV4Error::Malformed),
    ] {
        let map = headers(&[("x-amz-date", date)]);
        assert_eq!(sent.verify(&request, &map, EMPTY, "x", now), Err(error), "{date} {now}");
    }
}

#[test]
fn a_scope_for_another_service_or_region_than_the_host_is_refused() {
    let fits = |service: &str, region: &str, host: &str| {
        let sent = inbound(&format!("20150830/{region}/{service}"), "host", &"0".repeat(64));
        sent.fits(&Authority::parse(host, Some(443)).unwrap()).is_ok()
    };
    for (service, region, host) in [
        ("s3", "eu-west-1", "s3.eu-west-1.amazonaws.com"),
        ("s3", "eu-west-1", "bucket.s3.eu-west-1.amazonaws.com"),
        ("s3", "eu-west-1", "dotted.bucket.s3.dualstack.eu-west-1.amazonaws.com"),
        ("s3", "us-gov-west-1", "b.s3-fips.us-gov-west-1.amazonaws.com"),
        ("s3", "eu-west-1", "bucket.s3-eu-west-1.amazonaws.com"),
        ("s3", "us-east-1", "bucket.s3.amazonaws.com"),
        ("s3", "ap-southeast-2", "bucket.s3.amazonaws.com"),
        ("s3", "ap-southeast-2", "bucket.s3-accelerate.amazonaws.com"),
        ("iam", "us-east-1", "iam.amazonaws.com"),
        ("sts", "us-east-1", "sts.amazonaws.com"),
        ("sts", "eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("dynamodb", "eu-central-1", "dynamodb.eu-central-1.amazonaws.com"),
        ("dynamodb", "eu-central-1", "streams.dynamodb.eu-central-1.amazonaws.com"),
        ("ecr", "us-west-2", "api.ecr.us-west-2.amazonaws.com"),
        ("bedrock", "us-west-2", "bedrock-runtime.us-west-2.amazonaws.com"),
        ("execute-api", "us-west-2", "id123.execute-api.us-west-2.amazonaws.com"),
        ("es", "us-west-2", "search-x.us-west-2.es.amazonaws.com"),
        ("lambda", "us-west-2", "abc.lambda-url.us-west-2.on.aws"),
        ("s3", "cn-north-1", "b.s3.cn-north-1.amazonaws.com.cn"),
        ("s3", "auto", "account.r2.example.com"),
        ("s3", "anything", "127.0.0.1:9000"),
    ] {
        assert!(fits(service, region, host), "{service} {region} {host}");
    }
    for (service, region, host) in [
        ("iam", "us-east-1", "s3.us-east-1.amazonaws.com"),
        ("s3", "us-east-1", "s3.eu-west-1.amazonaws.com"),
        ("s3", "us-east-1", "iam.amazonaws.com"),
        ("iam", "eu-west-1", "iam.amazonaws.com"),
        ("sts", "us-east-1", "bucket.s3.amazonaws.com"),
        ("iam", "us-east-1", "iam.s3.us-east-1.amazonaws.com"),
        ("s3", "us-east-1", "us-east-1.s3.eu-west-1.amazonaws.com"),
        ("s3", "eu-west-1", "bucket.s3-us-west-2.amazonaws.com"),
        ("sts", "us-east-1", "amazonaws.com"),
        ("sts", "us-east-1", "us-east-1.amazonaws.com"),
    ] {
        assert!(!fits(service, region, host), "{service} {region} {host}");
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_only_as_it_is(
        path in "/[a-z0-9%/. é]{0,20}",
        query in prop::option::of("[a-z=&%+é]{0,20}"),
        value in "[ -~]{0,20}",
        service in "s3|sts|execute-api",
        now in 0_i64..4_000_000_000,
    ) {
        let sent = inbound(&format!("20150830/us-east-1/{service}"), "host;x-other", &"0".repeat(64));
        let mut map = headers(&[("x-other", &value), ("x-amz-target", "t")]);
        let request = Unsigned { method: "POST", host: "h.example", path: &path, query: query.as_deref() };
        let keys = Keys { key_id: "AKIAREAL", secret: SECRET, token: None };
        sent.sign(&request, &mut map, EMPTY, &keys, now).unwrap();
        let new = Inbound::parse(map["authorization"].to_str().unwrap()).unwrap();
        prop_assert_eq!(new.verify(&request, &map, EMPTY, SECRET, now), Ok(()));
        for other in [
            Unsigned { method: "GET", ..request },
            Unsigned { host: "i.example", ..request },
            Unsigned { path: "/other-path", ..request },
            Unsigned { query: Some("other=1"), ..request },
        ] {
            prop_assert!(new.verify(&other, &map, EMPTY, SECRET, now).is_err());
        }
        prop_assert!(new.verify(&request, &map, "x", SECRET, now).is_err());
        map.insert("x-amz-target", HeaderValue::from_static("u"));
        prop_assert!(new.verify(&request, &map, EMPTY, SECRET, now).is_err());
    }
}
