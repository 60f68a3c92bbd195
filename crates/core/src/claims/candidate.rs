//! The objects that name one subscription or one connector.

use serverprotection_api::{ClaimCredential, ClaimStatus};

use super::evidence::{Evidence, MISSING_PERMISSION, Proof, Rights};
use crate::{Timestamp, jiff::SignedDuration};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Names {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The state of a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The object holds nothing and waits for nothing.
    #[default]
    None,
    /// It proved its access, but another object holds the key, or the key is reserved.
    Waiting,
    /// It alone may write.
    Held,
    /// It is being deleted, and its finalizer still works.
    Releasing,
}

impl State {
    /// As it is written in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Waiting => "Waiting",
            Self::Held => "Held",
            Self::Releasing => "Releasing",
        }
    }

    /// The state in status. An unknown word is that of a newer version, which may hold the key.
    pub fn of(claim: Option<&ClaimStatus>) -> Self {
        match claim.map(|claim| claim.state.as_str()) {
            None | Some("None" | "") => Self::None,
            Some("Waiting") => Self::Waiting,
            Some("Releasing") => Self::Releasing,
            Some(_) => Self::Held,
        }
    }

    /// Whether nobody else may hold the key.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Held | Self::Releasing)
    }
}

/// What an object wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Mode Enforce: it may hold the key.
    Enforces,
    /// Mode Observe: it claims nothing.
    Observes,
    /// Suspended: it keeps what it holds.
    Suspended,
    /// This build cannot parse it: it keeps what it holds.
    Unreadable,
    /// A connector whose `ServerProtection` holds no subscription: it keeps what it holds, and writes nothing.
    Blocked,
    /// It is being deleted.
    Deleting {
        /// Whether our finalizer still has something to do. Finalizers of others hold nothing.
        working: bool,
    },
}

/// An object that names the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its names.
    pub names: Names,
    /// Its uid: a recreated object of the same name is another candidate.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When this process saw it first.
    pub first_seen: Timestamp,
    /// What it wants.
    pub stage: Stage,
    /// Its claim as the API server has it.
    pub claim: Option<ClaimStatus>,
    /// Whether it was decided that it holds the key, and the API server has not acknowledged that yet.
    pub takes: bool,
    /// The credential that it uses, once it was reconciled.
    pub credential: Option<ClaimCredential>,
    /// What is known about its access.
    pub proof: Proof,
    /// What was last known about its right to write.
    pub rights: Option<Rights>,
    /// When Azure denied a write of it, if it accepted none since.
    pub write_denied: Option<Timestamp>,
    /// When it last tried to prove its access.
    pub tried: Option<Timestamp>,
    /// Since when its access is unknown.
    pub unknown_since: Option<Timestamp>,
    /// Denials that this process saw since the last proof, apart from each other.
    pub denials: Count,
    /// The same for tries without an answer.
    pub unknowns: Count,
    /// When it could first have taken the key.
    pub wants_since: Option<Timestamp>,
}

impl Candidate {
    /// An object of which only the cluster knows.
    pub fn new(names: Names, uid: String, created: Option<Timestamp>, stage: Stage, now: Timestamp) -> Self {
        Self {
            names,
            uid,
            created,
            first_seen: now,
            stage,
            claim: None,
            takes: false,
            credential: None,
            proof: Proof::Untried,
            rights: None,
            write_denied: None,
            tried: None,
            unknown_since: None,
            denials: Count::default(),
            unknowns: Count::default(),
            wants_since: None,
        }
    }

    /// The state of its claim, with what was decided and is not acknowledged yet.
    pub fn state(&self) -> State {
        if self.takes {
            return State::Held;
        }
        State::of(self.claim.as_ref())
    }

    /// Whether nobody else may hold the key.
    pub fn occupies(&self) -> bool {
        self.state().occupies()
    }

    /// Whether it may become the holder, apart from proof.
    pub fn is_eligible(&self) -> bool {
        self.stage == Stage::Enforces
    }

    /// Whether it held the key before.
    pub fn held_before(&self) -> bool {
        self.claim.is_some() && self.state() == State::None
    }

    /// Whether it waits for the key and its last try proved its access.
    pub fn waits(&self) -> bool {
        self.is_eligible() && self.state() == State::Waiting && self.proof.is_given()
    }

    /// Whether its claim says that the credential it uses may write: a write of it succeeded, or its permissions were
    /// read.
    fn was_proven(&self) -> bool {
        let proven = self.claim.as_ref().and_then(|claim| claim.credential.as_ref());
        proven.is_some() && proven == self.credential.as_ref()
    }

    /// The object uses this credential now. What is known about another one says nothing about it.
    pub fn uses(&mut self, credential: Option<ClaimCredential>) {
        if self.credential != credential {
            (self.rights, self.write_denied) = (None, None);
            self.credential = credential;
        }
    }

    /// Takes in what a reconcile learned. Failures count only if they are at least `spacing` apart.
    pub fn learn(&mut self, evidence: Evidence, spacing: SignedDuration, now: Timestamp) {
        self.tried = Some(now);
        // Nothing but another write shows that the right was granted in the meantime.
        let write_denied = self
            .write_denied
            .is_some_and(|at| now.duration_since(at) < spacing);
        self.proof = match evidence {
            Evidence::Nothing => Proof::Unknown,
            Evidence::Denied(code) => Proof::Denied(code),
            Evidence::Read(rights) => {
                if rights != Rights::NotRead {
                    self.rights = Some(rights);
                }
                match self.rights {
                    Some(Rights::Allowed) => Proof::Proven,
                    Some(Rights::Missing(_)) => Proof::Denied(MISSING_PERMISSION.into()),
                    _ if write_denied => Proof::Denied(MISSING_PERMISSION.into()),
                    _ if self.was_proven() && self.write_denied.is_none() => Proof::Proven,
                    _ => Proof::Weak,
                }
            }
        };
        match self.proof {
            Proof::Denied(_) => self.denials.add(spacing, now),
            Proof::Unknown => {
                self.unknown_since.get_or_insert(now);
                self.unknowns.add(spacing, now);
            }
            // Only a proof ends a series of denials (R5).
            Proof::Weak => (self.unknown_since, self.unknowns) = (None, Count::default()),
            Proof::Untried | Proof::Proven => {
                self.unknown_since = None;
                (self.denials, self.unknowns) = (Count::default(), Count::default());
            }
        }
    }
}

/// A number of results that are apart from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number.
    pub number: u32,
    last: Option<Timestamp>,
}

impl Count {
    fn add(&mut self, spacing: SignedDuration, now: Timestamp) {
        let apart = self.last.is_none_or(|last| now.duration_since(last) >= spacing);
        if apart {
            self.number = self.number.saturating_add(1);
            self.last = Some(now);
        }
    }
}
