//! Counts of all subscriptions, and the exit code. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serverprotection_azure::fleet::Access;
use serverprotection_core::{
    azure_error::AzureError,
    machines::{Accounts, Environment, Tally, Verdict},
    security_connector::account::ListedConnector,
};

use super::identity::problem;

/// Environments whose machines can belong to an account.
pub(crate) const IN_ACCOUNTS: [Environment; 2] = [Environment::Aws, Environment::Gcp];

/// The result of reading one subscription.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Read {
        tally: Box<Tally>,
        accounts: Accounts,
        access: Access,
        /// `Free`, `P1` or `P2`, if it is visible.
        tier: Option<String>,
    },
    /// Why it could not be read, and the next step.
    Failed { reason: String, hint: String },
}

/// A subscription with its requirement and its result.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Display name, or empty.
    pub(crate) name: String,
    /// Required percentage of protected machines.
    pub(crate) minimum: u8,
    pub(crate) outcome: Outcome,
}

/// The connectors of the subscriptions that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connectors {
    known: Vec<ListedConnector>,
    /// Why some could not be listed, without duplicates.
    failures: BTreeSet<String>,
}

impl Connectors {
    pub(crate) fn add(&mut self, answer: Result<Vec<ListedConnector>, AzureError>) {
        match answer {
            Ok(known) => self.known.extend(known),
            Err(failure) => {
                self.failures.insert(problem(&failure));
            }
        }
    }

    /// The connectors that were listed.
    pub(crate) fn known(&self) -> &[ListedConnector] {
        &self.known
    }

    /// Why connectors may be missing.
    pub(crate) const fn failures(&self) -> &BTreeSet<String> {
        &self.failures
    }
}

/// All subscriptions, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) connectors: Connectors,
}

/// The exit code and its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// 0, 1 or 2, as documented in `--help`.
    pub(crate) code: u8,
    /// Why it is not 0.
    pub(crate) reasons: Vec<String>,
}

impl Subscription {
    /// Protected and eligible machines, if the percentage is below the required one.
    pub(crate) fn below_minimum(&self) -> Option<(u64, u64)> {
        let Outcome::Read { tally, .. } = &self.outcome else {
            return None;
        };
        let (protected, eligible) = protected_of(tally);
        let enough = u128::from(protected) * 100 >= u128::from(self.minimum) * u128::from(eligible);
        (!enough).then_some((protected, eligible))
    }

    /// Why machines may exist that are not visible, with the next step; and whether this makes the result incomplete.
    pub(crate) fn uncertainty(&self) -> Option<(String, bool)> {
        let Outcome::Read { tally, access, .. } = &self.outcome else {
            return None;
        };
        match access {
            Access::Sufficient => None,
            Access::Missing(actions) => Some((
                format!(
                    "some machines may not be visible, because the identity lacks {}: assign the role Reader to it there",
                    actions.join(", ")
                ),
                true,
            )),
            // A least-privilege role need not include reading one's own permissions.
            Access::NotReadable if tally.total(&Environment::ALL) > 0 => Some((
                "cannot verify that all machines are visible, because the identity is not allowed to read its own permissions (Microsoft.Authorization/permissions/read)".into(),
                false,
            )),
            Access::NotReadable => Some((
                "no machine is visible, and the identity is not allowed to read its own permissions (Microsoft.Authorization/permissions/read), so machines may be hidden: assign the role Reader to it there".into(),
                true,
            )),
        }
    }

    /// `Free`, `P1` or `P2`, if it is visible.
    pub(crate) fn tier(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Read { tier, .. } => tier.as_deref(),
            Outcome::Failed { .. } => None,
        }
    }

    /// Whether Defender for Servers is off.
    pub(crate) fn is_free(&self) -> bool {
        self.tier().is_some_and(|tier| tier.eq_ignore_ascii_case("Free"))
    }
}

impl Totals {
    /// The counts of all subscriptions that were read.
    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for subscription in self.subscriptions.values() {
            if let Outcome::Read { tally, .. } = &subscription.outcome {
                all.merge(tally);
            }
        }
        all
    }

    /// The counts of all accounts, summed over the subscriptions.
    pub(crate) fn accounts(&self) -> Accounts {
        let mut all = Accounts::new();
        for subscription in self.subscriptions.values() {
            if let Outcome::Read { accounts, .. } = &subscription.outcome {
                for (account, counts) in accounts {
                    all.entry(account.clone()).or_default().merge(counts);
                }
            }
        }
        all
    }

    /// How many subscriptions were read.
    pub(crate) fn read(&self) -> usize {
        self.count(|subscription| matches!(subscription.outcome, Outcome::Read { .. }))
    }

    fn count(&self, expected: impl Fn(&Subscription) -> bool) -> usize {
        self.subscriptions.values().filter(|one| expected(one)).count()
    }

    /// An incomplete result (2) takes precedence over a bad one (1), and is never a success.
    pub(crate) fn end(&self) -> End {
        let all = self.subscriptions.len();
        let mut reasons = Vec::new();
        if all == 0 {
            reasons.push(
                "the identity can see no subscription: assign the role Reader to it, or sign in to another tenant"
                    .into(),
            );
        }
        let failed = all - self.read();
        if failed > 0 {
            reasons.push(format!("{failed} of {all} subscriptions could not be read"));
        }
        let uncertain = self.count(|one| matches!(one.uncertainty(), Some((_, true))));
        if uncertain > 0 {
            reasons.push(format!(
                "{uncertain} of {all} subscriptions may have machines that the identity cannot see"
            ));
        }
        let tally = self.tally();
        if self.read() > 0 && tally.eligible(&Environment::ALL) == 0 {
            reasons.push(match tally.total(&Environment::ALL) {
                0 => "no machine is visible, so the result does not count as success".into(),
                total => format!(
                    "none of the {total} visible machines is eligible for protection, so the result does not count as success"
                ),
            });
        }
        if !reasons.is_empty() {
            return End { code: 2, reasons };
        }
        let below = self.count(|one| one.below_minimum().is_some());
        if below > 0 {
            reasons.push(format!(
                "{below} of {all} subscriptions are below the required percentage of protected machines"
            ));
        }
        End {
            code: u8::from(below > 0),
            reasons,
        }
    }
}

/// Protected and eligible machines.
pub(crate) fn protected_of(tally: &Tally) -> (u64, u64) {
    (
        tally.verdict(Verdict::Protected),
        tally.eligible(&Environment::ALL),
    )
}

/// Percentage in tenths, rounded down, so that 100 means all of them. `None` if no machine is eligible.
pub(crate) fn percent((protected, eligible): (u64, u64)) -> Option<f64> {
    let tenths = (u128::from(protected) * 1000).checked_div(u128::from(eligible))?;
    u32::try_from(tenths).ok().map(|tenths| f64::from(tenths) / 10.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn read(counts: &[(Verdict, u64)], access: Access) -> Subscription {
        let mut tally = Tally::default();
        for (verdict, machines) in counts {
            tally.add(Environment::Azure, *verdict, *machines);
        }
        Subscription {
            name: "Contoso".into(),
            minimum: 95,
            outcome: Outcome::Read {
                tally: tally.into(),
                accounts: Accounts::new(),
                access,
                tier: Some("P2".into()),
            },
        }
    }

    pub(crate) fn failed() -> Subscription {
        Subscription {
            name: String::new(),
            minimum: 95,
            outcome: Outcome::Failed {
                reason: "POST resources: AuthorizationFailed: no".into(),
                hint: "assign the role Reader to the identity there".into(),
            },
        }
    }

    fn code(subscriptions: Vec<Subscription>) -> u8 {
        let subscriptions = subscriptions
            .into_iter()
            .enumerate()
            .map(|(number, one)| (number.to_string(), one));
        let totals = Totals {
            subscriptions: subscriptions.collect(),
            ..Totals::default()
        };
        let end = totals.end();
        assert_eq!(end.code == 0, end.reasons.is_empty());
        end.code
    }

    #[test]
    fn the_exit_code_is_0_only_for_a_complete_and_good_result() {
        use Access::{Missing, NotReadable, Sufficient};
        use Verdict::{Excluded, PoweredOff, Protected, Provisioning};
        let good = || read(&[(Protected, 95), (Verdict::Missing, 5)], Sufficient);
        let bad = || read(&[(Protected, 94), (Provisioning, 6)], Sufficient);
        let empty = |access| read(&[], access);
        for (subscriptions, expected) in [
            (vec![good()], 0),
            (vec![good(), empty(Sufficient)], 0),
            (
                vec![good(), read(&[(Protected, 5), (PoweredOff, 50)], Sufficient)],
                0,
            ),
            (vec![read(&[(Protected, 5)], NotReadable)], 0),
            // Good subscriptions do not outweigh a bad one.
            (vec![bad()], 1),
            (vec![read(&[(Protected, 1_000_000)], Sufficient), bad()], 1),
            // Incomplete takes precedence over bad.
            (vec![], 2),
            (vec![failed()], 2),
            (vec![good(), failed()], 2),
            (vec![bad(), failed()], 2),
            (vec![read(&[(Protected, 5)], Missing(vec!["x/read"]))], 2),
            (vec![good(), empty(NotReadable)], 2),
            (vec![empty(Sufficient)], 2),
            (vec![read(&[(Excluded, 5), (PoweredOff, 5)], Sufficient)], 2),
        ] {
            let reported = format!("{subscriptions:?}");
            assert_eq!(code(subscriptions), expected, "{reported}");
        }
    }

    #[test]
    fn percentages_are_rounded_down() {
        assert_eq!(percent((999_999, 1_000_000)), Some(99.9));
        assert_eq!(percent((2, 3)), Some(66.6));
        assert_eq!(percent((3, 3)), Some(100.0));
        assert_eq!(percent((0, 0)), None);
    }
}
