//! The plan's tiers.

use serverprotection_api::Tier;

/// A tier as it is written in spec and status.
pub const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Free => "Free",
        Tier::P1 => "P1",
        Tier::P2 => "P2",
    }
}

/// How much a tier protects; a move to a lower number is a reduction.
pub const fn protection(tier: Tier) -> u8 {
    match tier {
        Tier::Free => 0,
        Tier::P1 => 1,
        Tier::P2 => 2,
    }
}
