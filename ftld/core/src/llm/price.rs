//! What an answer costs.
//!
//! Owns the table of prices, which is data with a date, and the sum. A model that is not in it has no known
//! price, and a service that the human named at another address has none either. Must not guess.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Usage;
use super::name::Endpoint;

/// A sum that is an upper bound at list prices: what a cache saves is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// The day of the prices, `YYYY-MM-DD`.
    pub as_of: &'static str,
}

#[derive(Deserialize)]
struct Table {
    as_of: String,
    #[serde(flatten)]
    providers: BTreeMap<String, BTreeMap<String, Price>>,
}

/// Thousandths of a US dollar for a million tokens.
#[derive(Clone, Copy, Deserialize)]
struct Price {
    input: u64,
    output: u64,
}

static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| toml::from_str(include_str!("price.toml")).ok());

/// The most that an answer can have cost, when its model's price is known.
#[must_use]
pub fn cost(endpoint: &Endpoint, usage: Usage) -> Option<Cost> {
    let table = TABLE.as_ref()?;
    if !endpoint.is_usual || usage.cache_written {
        return None;
    }
    let prices = table.providers.get(&endpoint.provider)?;
    let price = prices.get(undated(&endpoint.model))?;
    let input = u128::from(usage.input) * u128::from(price.input);
    let output = u128::from(usage.output) * u128::from(price.output);
    let micro_usd = u64::try_from((input + output).div_ceil(1000)).unwrap_or(u64::MAX);
    Some(Cost { micro_usd, as_of: &table.as_of })
}

/// A model's name without the day of its version, as vendors append it: `-20250929` or `-2025-09-29`.
#[must_use]
pub fn undated(model: &str) -> &str {
    let is_day = |tail: &str| {
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        let shape: String = tail.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        digits == 8 && (shape == "00000000" || shape == "0000-00-00")
    };
    for length in [8, 10] {
        let cut = model.len().checked_sub(length + 1).and_then(|at| model.split_at_checked(at));
        if let Some((name, tail)) = cut
            && let Some(tail) = tail.strip_prefix('-')
            && is_day(tail)
        {
            return name;
        }
    }
    model
}

#[cfg(test)]
mod tests {
    use super::super::name::ModelName;
    use super::*;

    fn sum(name: &str, input: u64, output: u64) -> Option<u64> {
        let endpoint = ModelName::parse(name).unwrap().endpoint(&BTreeMap::new()).unwrap();
        let usage = Usage { input, output, cache_written: false };
        cost(&endpoint, usage).map(|cost| cost.micro_usd)
    }

    #[test]
    fn a_known_model_has_a_sum_and_another_none() {
        assert_eq!(sum("openai/gpt-4o", 1_000_000, 0), Some(2_500_000));
        assert_eq!(sum("openai/gpt-4o-2024-08-06", 1_000_000, 100_000), Some(3_500_000));
        assert_eq!(sum("openai/gpt-4.1-nano", 1, 0), Some(1), "a part of a millionth counts as one");
        assert_eq!(sum("anthropic/claude-3-5-haiku-20241022", 1_000_000, 0), Some(800_000));
        assert_eq!(sum("openai/gpt-4o", u64::MAX, u64::MAX), Some(u64::MAX));
        for unknown in ["openai/gpt-99", "openrouter/gpt-4o", "ollama/llama3", "openai/gpt-4o-audio"] {
            assert_eq!(sum(unknown, 1, 1), None, "{unknown}");
        }
        let table = TABLE.as_ref().unwrap();
        assert!(table.as_of.len() == 10 && table.providers.values().all(|prices| !prices.is_empty()));
    }

    #[test]
    fn what_is_not_a_plain_price_has_none() {
        let name = ModelName::parse("openai/gpt-4o").unwrap();
        let endpoint = name.endpoint(&BTreeMap::new()).unwrap();
        let written = Usage { input: 1, output: 1, cache_written: true };
        assert_eq!(cost(&endpoint, written), None);
        let elsewhere = Endpoint { is_usual: false, ..endpoint };
        assert_eq!(cost(&elsewhere, Usage::default()), None);
    }

    #[test]
    fn only_a_day_is_taken_off_a_name() {
        assert_eq!(undated("a-20250101"), "a");
        assert_eq!(undated("a-2025-01-01"), "a");
        for whole in ["a-2025010", "a-2025-0101", "20250101", "a", "", "é-2025x101", "ééééé"] {
            assert_eq!(undated(whole), whole);
        }
    }
}
