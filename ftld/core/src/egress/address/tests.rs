//! Tests of the judgement over addresses.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_range_that_is_not_public_is_known_by_its_name() {
    for (first, last, name) in [
        ("0.0.0.0", "0.255.255.255", "unspecified"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "carrier-grade NAT"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "protocol assignments"),
        ("192.0.2.0", "192.0.2.255", "documentation"),
        ("192.88.99.0", "192.88.99.255", "6to4 relay"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "benchmarking"),
        ("198.51.100.0", "198.51.100.255", "documentation"),
        ("203.0.113.0", "203.0.113.255", "documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.254", "reserved"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
    ] {
        for end in [first, last] {
            assert_eq!(forbidden(ip(end)), Some(name), "{end}");
        }
    }
    for (one, name) in [
        ("255.255.255.255", "broadcast"),
        ("169.254.169.254", "cloud metadata"),
        ("169.254.170.2", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("::", "unspecified"),
        ("::1", "loopback"),
    ] {
        assert_eq!(forbidden(ip(one)), Some(name), "{one}");
        assert!(never(ip(one)), "{one}");
    }
}

#[test]
fn what_is_beside_a_range_is_public() {
    for one in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "203.0.114.0",
        "223.255.255.255",
        "168.63.129.15",
        "2001:db7::1",
        "2001:4860::8888",
        "2606:4700::1111",
        "fbff::1",
        "2003::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        assert_eq!(forbidden(ip(one)), None, "{one}");
    }
}

#[test]
fn an_address_inside_of_another_is_judged() {
    for (outer, name) in [
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "cloud metadata"),
        ("64:ff9b::10.1.2.3", "private"),
        ("64:ff9b::169.254.169.254", "cloud metadata"),
        ("64:ff9b:1::8.8.8.8", "local NAT64"),
        ("64:ff9b:1::127.0.0.1", "local NAT64"),
        ("64:ff9b:1:7f00:0:100::", "local NAT64"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a9fe:a9fe::1", "cloud metadata"),
        ("2002:a00:1::1", "private"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ] {
        assert_eq!(forbidden(ip(outer)), Some(name), "{outer}");
    }
}

#[test]
fn a_private_rule_opens_private_ranges_and_no_other() {
    for one in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "64:ff9b::10.0.0.1"] {
        assert!(!never(ip(one)), "{one}");
        assert_eq!(check(&[ip(one)], true, &[]), Ok(ip(one)));
        assert!(check(&[ip(one)], false, &[]).is_err(), "{one}");
    }
    for one in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.1.1",
        "224.0.0.1",
        "100.100.100.200",
        "::1",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001::1",
        "255.255.255.255",
    ] {
        assert!(
            matches!(check(&[ip(one)], true, &[]), Err(AddressRefusal::Forbidden { never: true, .. })),
            "{one}"
        );
    }
}

#[test]
fn one_bad_answer_refuses_all() {
    let (good, good6, bad) = (ip("93.184.216.34"), ip("2606:4700::1"), ip("10.0.0.1"));
    assert_eq!(check(&[good6, good], false, &[]), Ok(good));
    assert_eq!(check(&[good6], false, &[]), Ok(good6));
    assert_eq!(check(&[], true, &[]), Err(AddressRefusal::None));
    for answers in [[good, bad, good6], [bad, good, good6], [good6, good, bad]] {
        assert_eq!(
            check(&answers, false, &[]),
            Err(AddressRefusal::Forbidden { range: "private", never: false })
        );
    }
    assert_eq!(check(&[good, good6], false, &[good6]), Err(AddressRefusal::Own));
    assert_eq!(check(&[bad], true, &[bad]), Err(AddressRefusal::Own));
    assert_eq!(check(&[ip("::ffff:93.184.216.34")], true, &[good]), Err(AddressRefusal::Own));
    assert_eq!(check(&[ip("64:ff9b::93.184.216.34")], true, &[good]), Err(AddressRefusal::Own));
}

proptest! {
    #[test]
    fn wrapping_a_bad_address_does_not_help(bits in any::<u32>(), prefix in 0..5usize) {
        let inner = Ipv4Addr::from_bits(bits);
        let low = u128::from(bits);
        let outer = Ipv6Addr::from_bits([
            low,
            0xffff << 32 | low,
            0xffff << 48 | low,
            0x0064_ff9b << 96 | low,
            0x2002 << 112 | low << 80,
        ][prefix]);
        if forbidden(inner.into()).is_some() {
            prop_assert!(forbidden(outer.into()).is_some(), "{inner} in {outer}");
        }
        if never(inner.into()) {
            prop_assert!(never(outer.into()), "{inner} in {outer}");
        }
    }

    #[test]
    fn never_is_always_forbidden(bits in any::<u128>()) {
        let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
        prop_assert!(!never(address) || forbidden(address).is_some());
    }
}
