//! Durations as people write them.

/// Seconds as `[h:]mm:ss`.
pub fn clock(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{:02}", seconds % 60)
    } else {
        format!("{minutes:02}:{:02}", seconds % 60)
    }
}

/// The seconds of a text like `1h30m`.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is no duration");
    let (mut total, mut number) = (0_u64, None::<u64>);
    for char in text.chars() {
        if let Some(digit) = char.to_digit(10) {
            number = Some(number.unwrap_or(0) * 10 + u64::from(digit));
            continue;
        }
        let unit = match char {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return Err(fault()),
        };
        total += number.take().ok_or_else(fault)? * unit;
    }
    if number.is_some() || text.is_empty() {
        return Err(fault());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn clocks() {
        assert_eq!(clock(75), "01:15");
        assert_eq!(clock(3605), "1:00:05");
    }
}
