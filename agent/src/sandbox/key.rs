//! The program key: a name for all that a pure guest can see, and the seed of its random numbers.
//!
//! It is the BLAKE3 hash of the profile, the stage's name (which is `argv[0]`), module, arguments,
//! environment, digests of stdin and inputs, the index and count where the guest sees them, its item,
//! the spec's seed, and its capabilities. Each field goes in with its length before it, so that no two specs run
//! together. Limits are left out: they can end a guest early, but it cannot read them.

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use weir_proto::{
    job::{InputSource, Keep, StageSpec, Stdin, TaskKind},
    manifest::Item,
    template::{Placeholder, placeholders},
};

use crate::profile;

/// Says which hash this is, so that it can change with the next profile.
const CONTEXT: &str = "weir program key 1";

/// What the tasks of one stage have in common of their keys.
#[derive(Debug, Clone)]
pub struct StageKey {
    common: blake3::Hasher,
    sees: Sees,
}

/// What a task sees of its place among the others.
#[derive(Debug, Clone, Copy)]
enum Sees {
    Nothing,
    IndexAndCount(u32),
    Item,
    ItemAndIndex,
}

/// A task's program key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramKey(pub [u8; 32]);

impl StageKey {
    /// Reads what the stage's tasks have in common.
    pub fn new(stage: &StageSpec) -> StageKey {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&profile::digest(stage.metering).0);
        text(&mut hasher, &stage.name);
        hasher.update(&stage.module.0);
        number(&mut hasher, stage.args.len() as u64);
        stage.args.iter().for_each(|arg| text(&mut hasher, arg));
        number(&mut hasher, stage.env.len() as u64);
        for (name, value) in &stage.env {
            text(&mut hasher, name);
            text(&mut hasher, value);
        }
        match stage.stdin {
            Stdin::Empty => number(&mut hasher, 0),
            Stdin::Blob(digest) => {
                number(&mut hasher, 1);
                hasher.update(&digest.0);
            }
            Stdin::Item => number(&mut hasher, 2),
        }
        number(&mut hasher, stage.inputs.len() as u64);
        for input in &stage.inputs {
            text(&mut hasher, &input.path);
            let kind = match input.source {
                InputSource::Blob(_) => 0,
                InputSource::Tree(_) => 1,
            };
            number(&mut hasher, kind);
            number(&mut hasher, u64::from(input.writable));
            hasher.update(&input.source.digest().0);
        }
        number(&mut hasher, u64::from(stage.keep != Keep::Nothing));
        number(&mut hasher, stage.seed);
        number(&mut hasher, stage.capabilities.len() as u64);
        for capability in &stage.capabilities {
            text(&mut hasher, &capability.to_string());
        }
        let texts = stage.args.iter().chain(stage.env.iter().map(|(_, value)| value));
        let index = |text: &String| placeholders(text).contains(&Placeholder::Index);
        let sees = match stage.kind {
            TaskKind::Plain => Sees::Nothing,
            TaskKind::Array => Sees::IndexAndCount(stage.count),
            TaskKind::Foreach { .. } if texts.into_iter().any(index) => Sees::ItemAndIndex,
            TaskKind::Foreach { .. } => Sees::Item,
        };
        StageKey { common: hasher, sees }
    }

    /// The key of one task; tasks that see the same share theirs.
    pub fn task(&self, index: u32, item: Option<&Item>) -> ProgramKey {
        let mut hasher = self.common.clone();
        match self.sees {
            Sees::Nothing => number(&mut hasher, 0),
            Sees::IndexAndCount(count) => {
                number(&mut hasher, 1);
                number(&mut hasher, u64::from(index));
                number(&mut hasher, u64::from(count));
            }
            Sees::Item => {
                number(&mut hasher, 2);
                hash_item(&mut hasher, item);
            }
            Sees::ItemAndIndex => {
                number(&mut hasher, 3);
                number(&mut hasher, u64::from(index));
                hash_item(&mut hasher, item);
            }
        }
        ProgramKey(*hasher.finalize().as_bytes())
    }
}

fn hash_item(hasher: &mut blake3::Hasher, item: Option<&Item>) {
    let Some(item) = item else { return number(hasher, 0) };
    text(hasher, &item.text);
    let (kind, digest) = match item.source {
        None => return number(hasher, 1),
        Some(InputSource::Blob(digest)) => (2, digest),
        Some(InputSource::Tree(digest)) => (3, digest),
    };
    number(hasher, kind);
    hasher.update(&digest.0);
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    number(hasher, text.len() as u64);
    hasher.update(text.as_bytes());
}

fn number(hasher: &mut blake3::Hasher, number: u64) {
    hasher.update(&number.to_le_bytes());
}

/// The random numbers that a guest sees.
pub(crate) enum GuestRandom {
    /// They follow from its program key.
    Seeded(Box<ChaCha12Rng>),
    /// The machine's.
    Real,
}

impl GuestRandom {
    /// ChaCha12 under the program key.
    pub(crate) fn seeded(key: ProgramKey) -> GuestRandom {
        GuestRandom::Seeded(Box::new(ChaCha12Rng::from_seed(key.0)))
    }

    /// Another stream of the same generator, from its beginning.
    pub(crate) fn on_stream(&self, stream: u64) -> GuestRandom {
        match self {
            GuestRandom::Seeded(random) => {
                let mut other = ChaCha12Rng::from_seed(random.get_seed());
                other.set_stream(stream);
                GuestRandom::Seeded(Box::new(other))
            }
            GuestRandom::Real => GuestRandom::Real,
        }
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        match self {
            GuestRandom::Seeded(random) => {
                random.fill_bytes(bytes);
                Ok(())
            }
            GuestRandom::Real => getrandom::fill(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::{digest::Digest, limits::Limits};

    use super::*;

    fn stage() -> StageSpec {
        StageSpec {
            args: vec!["ab".to_owned(), "c".to_owned()],
            count: 3,
            kind: TaskKind::Array,
            ..StageSpec::new("main", Digest::of(b"module"))
        }
    }

    #[test]
    fn a_key_follows_what_the_guest_sees() {
        let base = StageKey::new(&stage()).task(0, None);
        assert_eq!(base, StageKey::new(&stage()).task(0, None));
        assert_ne!(base, StageKey::new(&stage()).task(1, None));
        let other = StageSpec { args: vec!["a".to_owned(), "bc".to_owned()], ..stage() };
        assert_ne!(base, StageKey::new(&other).task(0, None));
        let other = StageSpec { seed: 1, ..stage() };
        assert_ne!(base, StageKey::new(&other).task(0, None));
    }

    #[test]
    fn a_key_ignores_what_the_guest_does_not_see() {
        let unseen = StageSpec { kind: TaskKind::Plain, ..stage() };
        assert_eq!(StageKey::new(&unseen).task(0, None), StageKey::new(&unseen).task(1, None));
        let limits = Limits { fuel: 7, ..Limits::default() };
        let other = StageSpec { limits, ..stage() };
        assert_eq!(StageKey::new(&stage()).task(0, None), StageKey::new(&other).task(0, None));
    }

    #[test]
    fn a_task_with_an_item_sees_it_and_not_its_index() {
        let manifest = Digest::of(b"manifest");
        let foreach = StageSpec { kind: TaskKind::Foreach { manifest }, ..stage() };
        let item = |text: &str| Item { text: text.to_owned(), source: None };
        let key = StageKey::new(&foreach);
        assert_eq!(key.task(0, Some(&item("a"))), key.task(1, Some(&item("a"))));
        assert_ne!(key.task(0, Some(&item("a"))), key.task(0, Some(&item("b"))));
        let manifest = Digest::of(b"another manifest");
        let grown = StageSpec { kind: TaskKind::Foreach { manifest }, count: 4, ..foreach.clone() };
        let grown = StageKey::new(&grown);
        assert_eq!(key.task(0, Some(&item("a"))), grown.task(0, Some(&item("a"))));
        let asks = StageSpec { args: vec!["{index}".to_owned()], ..foreach };
        let asks = StageKey::new(&asks);
        assert_ne!(asks.task(0, Some(&item("a"))), asks.task(1, Some(&item("a"))));
    }
}
