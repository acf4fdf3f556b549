//! Which services and regions a host of AWS has.
//!
//! Owns the reading of the names below `amazonaws.com`. Must not know requests.

use crate::egress::host::Host;

/// Domains of AWS: the partitions' own, and the one for two address families.
const DOMAINS: [&str; 6] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".on.aws",
    ".api.amazonwebservices.com.cn",
    ".amazonaws.eu",
];

/// Region in which services without one are signed, by partition.
const HOME: [&str; 5] = ["us-east-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "eusc-de-east-1"];

/// Hosts whose last labels are not what they sign as.
const SIGNS_AS: [(&str, &[&str]); 17] = [
    ("bedrock-runtime", &["bedrock"]),
    ("bedrock-agent", &["bedrock"]),
    ("bedrock-agent-runtime", &["bedrock"]),
    ("email", &["ses", "email"]),
    ("monitoring", &["monitoring", "cloudwatch"]),
    ("queue", &["sqs"]),
    ("data.iot", &["iotdata", "iotdevicegateway", "iot"]),
    ("data-ats.iot", &["iotdata", "iotdevicegateway"]),
    ("metering.marketplace", &["aws-marketplace"]),
    ("entitlement.marketplace", &["aws-marketplace"]),
    ("transcribestreaming", &["transcribe"]),
    ("appconfigdata", &["appconfig"]),
    ("lambda-url", &["lambda"]),
    ("s3-accelerate", &["s3"]),
    ("s3-accesspoint", &["s3"]),
    ("s3-control", &["s3"]),
    ("s3express-control", &["s3express"]),
];

/// Whether a request for this service and region belongs to the host.
pub(super) fn fits(service: &str, region: &str, host: &Host) -> bool {
    let Some(name) = host.name().map(|name| name.as_str()) else { return true };
    let Some(before) = DOMAINS.iter().find_map(|domain| name.strip_suffix(domain)) else {
        // Bare domains are web sites and sign nothing.
        return !DOMAINS.iter().any(|domain| domain.strip_prefix('.') == Some(name));
    };
    let labels: Vec<&str> = before.split('.').filter(|label| *label != "dualstack").collect();
    match labels.iter().rposition(|label| is_region(label)) {
        // Newer names have the region last, some (queues, search domains) have it in front.
        Some(at) => {
            let rest = if at + 1 == labels.len() { &labels[..at] } else { &labels[at + 1..] };
            labels[at] == region && has_service(rest, service)
        }
        None => is_of_no_region(&labels, service, region),
    }
}

/// `us-east-1`, `ap-southeast-2`, `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let letters = |part: &&str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = |part: &str| part.len() == 1 && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [area @ .., last] if (2..=3).contains(&area.len()) => {
            area[0].len() <= 4 && area.iter().all(letters) && number(last)
        }
        _ => false,
    }
}

/// Hosts without a region: the global services, and S3's old names.
fn is_of_no_region(labels: &[&str], service: &str, region: &str) -> bool {
    let Some(last) = labels.last() else { return false };
    if let Some(old) = last.strip_prefix("s3-").filter(|old| is_region(old)) {
        return service == "s3" && region == old;
    }
    // S3's general names serve buckets of every region.
    let anywhere = matches!(*last, "s3" | "s3-accelerate") && service == "s3";
    has_service(labels, service) && (anywhere || HOME.contains(&region))
}

/// Whether the last labels of a host are a service's name.
fn has_service(labels: &[&str], service: &str) -> bool {
    let Some(last) = labels.last() else { return false };
    let two = labels.len().checked_sub(2).map(|from| labels[from..].join("."));
    let named = |name: &str| SIGNS_AS.iter().find(|(host, _)| *host == name);
    if let Some((_, services)) = two.as_deref().and_then(named).or_else(|| named(last)) {
        return services.contains(&service);
    }
    let plain = last.strip_suffix("-fips").unwrap_or(last);
    // Directory buckets: `bucket--zone--x-s3.s3express-zone.region`.
    plain == service || (service == "s3express" && plain.starts_with("s3express-"))
}
