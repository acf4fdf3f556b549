//! When the agent has used enough.
//!
//! Owns the limits of one instruction and their sum. Prices are [`crate::llm::price`]'s; where none is known,
//! tokens and requests still count.

use crate::llm::Usage;

/// What one instruction may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Requests of the model.
    pub requests: u64,
    /// Tokens read and written together.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// Tokens that a conversation may have before its oldest parts are shortened.
    pub context_tokens: u64,
}

/// What was used so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Tokens that the model read.
    pub input: u64,
    /// Tokens that it wrote.
    pub output: u64,
    /// Millionths of a US dollar, as far as prices are known.
    pub micro_usd: u64,
}

/// A limit that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Over {
    /// Too many requests.
    #[error("the limit of {0} requests for one instruction is reached (agents.builtin.max_requests)")]
    Requests(u64),
    /// Too many tokens.
    #[error("the limit of {0} tokens for one instruction is reached (agents.builtin.max_tokens)")]
    Tokens(u64),
    /// Too much money; millionths of a US dollar.
    #[error("the limit of {} US cents for one instruction is reached (agents.builtin.max_cost_cents)", .0 / 10_000)]
    Cost(u64),
}

impl Default for Allowance {
    fn default() -> Self {
        Self { requests: 100, tokens: 5_000_000, micro_usd: 5_000_000, context_tokens: 100_000 }
    }
}

impl Allowance {
    /// Whether another request may be sent.
    ///
    /// # Errors
    /// When a limit is reached.
    pub fn allows(&self, used: &Used) -> Result<(), Over> {
        if used.requests >= self.requests {
            return Err(Over::Requests(self.requests));
        }
        if used.input.saturating_add(used.output) >= self.tokens {
            return Err(Over::Tokens(self.tokens));
        }
        if used.micro_usd >= self.micro_usd {
            return Err(Over::Cost(self.micro_usd));
        }
        Ok(())
    }
}

impl Used {
    /// Counts what an answer used; `micro_usd` is 0 where no price is known.
    pub fn add(&mut self, usage: Usage, micro_usd: u64) {
        self.input = self.input.saturating_add(usage.input);
        self.output = self.output.saturating_add(usage.output);
        self.micro_usd = self.micro_usd.saturating_add(micro_usd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_ends_it_when_it_is_reached_and_not_before() {
        let budget = Allowance { requests: 3, tokens: 100, micro_usd: 20_000, ..Allowance::default() };
        let with = |requests, input, output, micro_usd| Used { requests, input, output, micro_usd };
        let table = [
            (with(2, 60, 39, 19_999), Ok(())),
            (with(3, 0, 0, 0), Err(Over::Requests(3))),
            (with(0, 60, 40, 0), Err(Over::Tokens(100))),
            (with(0, u64::MAX, 1, 0), Err(Over::Tokens(100))),
            (with(0, 0, 0, 20_000), Err(Over::Cost(20_000))),
        ];
        for (used, expected) in table {
            assert_eq!(budget.allows(&used), expected, "{used:?}");
        }
        let said = Over::Cost(20_000).to_string();
        assert!(said.starts_with("the limit of 2 US cents"), "{said}");
    }

    #[test]
    fn what_was_used_is_added_up_without_wrapping() {
        let mut used = Used::default();
        for _ in 0..2 {
            used.add(Usage { input: u64::MAX, output: 2, cache_written: false }, 3);
        }
        assert_eq!((used.input, used.output, used.micro_usd), (u64::MAX, 4, 6));
    }
}
