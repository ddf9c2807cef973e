//! The program key: a name for all that a pure guest can see, and the seed of its random numbers.
//!
//! It is the BLAKE3 hash of the profile, the stage's name (which is `argv[0]`), module, arguments,
//! environment, digests of stdin and inputs, the index and count where the guest sees them, and
//! the spec's seed. Each field goes in with its length before it, so that no two specs run
//! together. Limits are left out: they can end a guest early, but it cannot read them.

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use weir_proto::{
    digest::Digest,
    job::{InputSource, StageSpec},
};

use crate::profile::PROFILE;

/// Says which hash this is, so that it can change with the next profile.
const CONTEXT: &str = "weir program key 1";

/// What the tasks of one stage have in common of their keys.
#[derive(Debug, Clone)]
pub struct StageKey {
    common: blake3::Hasher,
    array: Option<u32>,
}

/// A task's program key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramKey(pub [u8; 32]);

impl StageKey {
    /// Reads what the stage's tasks have in common.
    pub fn new(stage: &StageSpec) -> StageKey {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        text(&mut hasher, PROFILE);
        text(&mut hasher, &stage.name);
        hasher.update(&stage.module.0);
        number(&mut hasher, stage.args.len() as u64);
        stage.args.iter().for_each(|arg| text(&mut hasher, arg));
        number(&mut hasher, stage.env.len() as u64);
        for (name, value) in &stage.env {
            text(&mut hasher, name);
            text(&mut hasher, value);
        }
        optional(&mut hasher, stage.stdin);
        number(&mut hasher, stage.inputs.len() as u64);
        for input in &stage.inputs {
            text(&mut hasher, &input.path);
            let kind = match input.source {
                InputSource::Blob(_) => 0,
                InputSource::Tree(_) => 1,
            };
            number(&mut hasher, kind);
            hasher.update(&input.source.digest().0);
        }
        number(&mut hasher, u64::from(stage.keep_out));
        number(&mut hasher, stage.seed);
        StageKey { common: hasher, array: stage.array.then_some(stage.count) }
    }

    /// The key of one task; tasks that do not see their index share theirs.
    pub fn task(&self, index: u32) -> ProgramKey {
        let mut hasher = self.common.clone();
        match self.array {
            Some(count) => {
                number(&mut hasher, 1);
                number(&mut hasher, u64::from(index));
                number(&mut hasher, u64::from(count));
            }
            None => number(&mut hasher, 0),
        }
        ProgramKey(*hasher.finalize().as_bytes())
    }
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    number(hasher, text.len() as u64);
    hasher.update(text.as_bytes());
}

fn number(hasher: &mut blake3::Hasher, number: u64) {
    hasher.update(&number.to_le_bytes());
}

fn optional(hasher: &mut blake3::Hasher, digest: Option<Digest>) {
    number(hasher, u64::from(digest.is_some()));
    if let Some(digest) = digest {
        hasher.update(&digest.0);
    }
}

/// The random numbers that a guest may see, by the interface it asks.
pub(crate) struct GuestRandom {
    /// `wasi:random/random` and preview 1's `random_get`.
    pub(crate) secure: ChaCha12Rng,
    /// `wasi:random/insecure`.
    pub(crate) insecure: ChaCha12Rng,
    /// `wasi:random/insecure-seed`.
    pub(crate) insecure_seed: u128,
}

impl GuestRandom {
    /// The three streams of ChaCha12 under the program key.
    pub(crate) fn new(key: ProgramKey) -> GuestRandom {
        let stream = |number| {
            let mut random = ChaCha12Rng::from_seed(key.0);
            random.set_stream(number);
            random
        };
        let mut seed = [0; 16];
        stream(2).fill_bytes(&mut seed);
        GuestRandom {
            secure: stream(0),
            insecure: stream(1),
            insecure_seed: u128::from_le_bytes(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::limits::{Limits, Resources};

    use super::*;

    fn stage() -> StageSpec {
        StageSpec {
            name: "main".to_owned(),
            module: Digest::of(b"module"),
            args: vec!["ab".to_owned(), "c".to_owned()],
            env: Vec::new(),
            stdin: None,
            inputs: Vec::new(),
            count: 3,
            array: true,
            limits: Limits::default(),
            resources: Resources { cpu_millis: 1000, memory_bytes: 1 },
            success_codes: Vec::new(),
            keep_out: false,
            seed: 0,
        }
    }

    #[test]
    fn a_key_follows_what_the_guest_sees() {
        let base = StageKey::new(&stage()).task(0);
        assert_eq!(base, StageKey::new(&stage()).task(0));
        assert_ne!(base, StageKey::new(&stage()).task(1));
        let other = StageSpec { args: vec!["a".to_owned(), "bc".to_owned()], ..stage() };
        assert_ne!(base, StageKey::new(&other).task(0));
        let other = StageSpec { seed: 1, ..stage() };
        assert_ne!(base, StageKey::new(&other).task(0));
    }

    #[test]
    fn a_key_ignores_what_the_guest_does_not_see() {
        let unseen = StageSpec { array: false, ..stage() };
        assert_eq!(StageKey::new(&unseen).task(0), StageKey::new(&unseen).task(1));
        let limits = Limits { fuel: 7, ..Limits::default() };
        let other = StageSpec { limits, ..stage() };
        assert_eq!(StageKey::new(&stage()).task(0), StageKey::new(&other).task(0));
    }
}
