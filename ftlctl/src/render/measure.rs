//! Numbers for people: counts, sizes, durations, ages and times.
//!
//! Owns units and rounding. Must not know the clock: the present is an argument.

use jiff::Timestamp;

/// A count with its thousands apart: `1,204`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count and its noun: `1 file`, `2 files`.
pub(crate) fn plural(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

/// A size: `512 B`, `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A duration in microseconds: `870 µs`, `12 ms`, `3.4 s`, `2 min 05 s`.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        60_000_000..3_600_000_000 => format!("{} min {:02} s", micros / 60_000_000, micros / 1_000_000 % 60),
        _ => format!("{} h {:02} min", micros / 3_600_000_000, micros / 60_000_000 % 60),
    }
}

/// A duration that goes on, in microseconds: `3 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn elapsed(micros: u64) -> String {
    match micros {
        0..60_000_000 => format!("{} s", micros / 1_000_000),
        _ => duration(micros),
    }
}

/// A count where there is little room: `950`, `12.3k`, `1.2M`.
pub(crate) fn brief(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}.{}k", number / 1_000, number / 100 % 10),
        _ => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
    }
}

/// How long ago a moment was: `12 s`, `3 min`, `5 h`, `2 d`.
pub(crate) fn age(then_us: i64, now: Timestamp) -> String {
    let seconds = now.as_microsecond().saturating_sub(then_us).max(0) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// RFC 3339 in UTC with microseconds; a moment out of range is the epoch.
pub(crate) fn time(micros: i64) -> String {
    let moment = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A moment to the second in UTC, for tables: `2023-11-14 22:13:20Z`.
pub(crate) fn second(micros: i64) -> String {
    let moment = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Millionths of a dollar: `$0.0123`.
pub(crate) fn cost(micro_usd: u64) -> String {
    format!("${}.{:04}", micro_usd / 1_000_000, micro_usd / 100 % 10_000)
}

/// Permission bits as `chmod` takes them: `0644`.
pub(crate) fn mode(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes() {
        let table = [(0, "0", "0 B"), (999, "999", "999 B"), (1204, "1,204", "1.1 KiB")];
        for (number, counted, sized) in table {
            assert_eq!((count(number).as_str(), size(number).as_str()), (counted, sized));
        }
        assert_eq!(count(1_234_567), "1,234,567");
        let told: Vec<String> = [950, 1_000, 12_345, 1_250_000].into_iter().map(brief).collect();
        assert_eq!(told, ["950", "1.0k", "12.3k", "1.2M"]);
        let told: Vec<String> = [900_000, 3_200_000, 125_000_000].into_iter().map(elapsed).collect();
        assert_eq!(told, ["0 s", "3 s", "2 min 05 s"]);
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        assert_eq!(size(u64::MAX), "16383.9 PiB");
    }

    #[test]
    fn durations() {
        let table = [
            (7, "7 µs"),
            (12_345, "12 ms"),
            (3_450_000, "3.4 s"),
            (125_000_000, "2 min 05 s"),
            (7_260_000_000, "2 h 01 min"),
        ];
        for (micros, shown) in table {
            assert_eq!(duration(micros), shown);
        }
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(time(1_700_000_000_000_000), "2023-11-14T22:13:20.000000Z");
        assert_eq!(time(1_700_000_000_000_042), "2023-11-14T22:13:20.000042Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(time(i64::MAX), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn ages_and_costs() {
        let now = Timestamp::from_second(100_000).unwrap();
        let table = [(99_990, "10 s"), (99_000, "16 min"), (90_000, "2 h"), (0, "1 d"), (100_005, "0 s")];
        for (then, shown) in table {
            assert_eq!(age(then * 1_000_000, now), shown);
        }
        assert_eq!(cost(12_345), "$0.0123");
        assert_eq!(mode(0o644), "0644");
    }
}
