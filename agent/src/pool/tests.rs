//! What pools are laid out for machines that are made up, and which offers are refused.

use super::*;

const GIB: u64 = 1 << 30;

fn offer(cores: u32, memory_bytes: u64) -> Resources {
    Resources::new(cores * 1000, memory_bytes)
}

/// A server as Linux sets it up.
fn server() -> Machine {
    Machine {
        memory_bytes: Some(512 * GIB),
        mappings: Some(65_530),
        address_space_bytes: Some(1 << 47),
        commit_bytes: None,
        files: Some(524_288),
    }
}

/// What the kernel would count, were every slot in use by a module whose data lies in its middle.
fn mappings(pools: Pools) -> u64 {
    let of = |pool: Layout| {
        STACK_MAPPINGS * u64::from(pool.sandboxes) + MEMORY_MAPPINGS * u64::from(pool.memories)
    };
    OTHER_MAPPINGS + of(pools.fuel) + pools.epoch.map_or(0, of)
}

fn laid_out(resources: &Resources, machine: &Machine) -> Pools {
    Pools::new(resources, machine).expect("it fits")
}

/// The sandboxes and memories of the pool for tasks that are metered by epochs.
fn by_epochs(pools: Pools) -> Option<(u32, u32)> {
    pools.epoch.map(|pool| (pool.sandboxes, pool.memories))
}

fn refused(resources: Resources, machine: Machine) -> LayoutError {
    Pools::new(&resources, &machine).expect_err("it does not fit")
}

#[test]
fn a_small_offer_has_room_for_paused_tasks_and_for_modules_with_two_memories() {
    let pools = laid_out(&offer(2, 4 * GIB), &server());
    let layout = pools.fuel;
    assert_eq!((layout.sandboxes, layout.memories, layout.tables), (400, 800, 1_600));
    assert_eq!(layout.kept_bytes, MAX_KEPT_BYTES);
    assert_eq!(by_epochs(pools), Some((200, 200)));
}

#[test]
fn ten_thousand_sandboxes_fit_the_usual_mappings() {
    let pools = laid_out(&offer(100, 256 * GIB), &server());
    assert_eq!(pools.fuel.sandboxes, 10_000);
    assert!(pools.fuel.memories >= 10_000, "{pools:?}");
    assert_eq!(by_epochs(pools), Some((239, 239)), "what is left");
    assert!((65_000..=65_530).contains(&mappings(pools)), "{pools:?}");
}

#[test]
fn of_many_cores_some_have_sandboxes_for_tasks_metered_by_epochs_too() {
    let pools = laid_out(&offer(32, 256 * GIB), &server());
    assert_eq!((pools.fuel.sandboxes, by_epochs(pools)), (6_400, Some((1_000, 1_000))));
    assert!(mappings(pools) <= 65_530, "{pools:?}");
}

#[test]
fn where_there_is_room_for_few_sandboxes_none_are_for_tasks_metered_by_epochs() {
    let room_for =
        |sandboxes: u64| Machine { mappings: Some(OTHER_MAPPINGS + 6 * sandboxes), ..server() };
    for (sandboxes, expected) in [(200, None), (207, None), (208, Some((8, 8)))] {
        let pools = laid_out(&offer(2, GIB), &room_for(sandboxes));
        assert_eq!(by_epochs(pools), expected);
    }
}

#[test]
fn more_cores_than_sandboxes_can_be_leased_on_change_nothing() {
    let hundred = laid_out(&offer(100, GIB), &server());
    assert_eq!(laid_out(&offer(4096, GIB), &server()), hundred);
}

#[test]
fn a_pool_takes_what_there_is_between_the_least_and_the_usual() {
    // The second half is for paused tasks, what is metered by epochs goes before it.
    let machine = Machine { mappings: Some(OTHER_MAPPINGS + 6 * 450), ..server() };
    let pools = laid_out(&offer(2, GIB), &machine);
    assert_eq!((pools.fuel.sandboxes, pools.fuel.memories), (250, 250));
    assert_eq!(by_epochs(pools), Some((200, 200)));
}

#[test]
fn every_budget_that_is_one_too_small_refuses_by_its_name() {
    let tables = 2 * TABLE_SPACE;
    let stack = FIBER_STACK_BYTES as u64;
    let own = 200 * SANDBOX_BYTES;
    let exactly = Machine {
        memory_bytes: Some(GIB + own),
        mappings: Some(OTHER_MAPPINGS + 200 * 6),
        address_space_bytes: Some(OTHER_SPACE + 200 * (stack + MEMORY_SPACE + tables)),
        commit_bytes: Some(GIB + 200 * (stack + tables)),
        files: Some(OTHER_FILES + 200),
    };
    let layout = laid_out(&offer(2, GIB), &exactly).fuel;
    assert_eq!((layout.sandboxes, layout.memories), (200, 200));
    let less = |there: Option<u64>| there.map(|there| there - 1);
    for (machine, scarce) in [
        (Machine { memory_bytes: less(exactly.memory_bytes), ..exactly }, Scarce::Memory),
        (Machine { mappings: less(exactly.mappings), ..exactly }, Scarce::Mappings),
        (
            Machine { address_space_bytes: less(exactly.address_space_bytes), ..exactly },
            Scarce::AddressSpace,
        ),
        (Machine { commit_bytes: less(exactly.commit_bytes), ..exactly }, Scarce::Commit),
        (Machine { files: less(exactly.files), ..exactly }, Scarce::Files),
    ] {
        let error = refused(offer(2, GIB), machine);
        assert_eq!((error.scarce, error.sandboxes), (scarce, 200));
        assert_eq!(error.needed, error.there + 1, "{error}");
    }
}

#[test]
fn a_refusal_says_what_is_there_and_what_to_do() {
    let memory = refused(offer(2, 600 * GIB), server()).to_string();
    let told = "600 GiB of memory, and there are 512 GiB: offer less with --memory";
    assert!(memory.ends_with(told), "{memory}");
    let mappings = refused(offer(64, GIB), Machine { mappings: Some(30_000), ..server() });
    assert_eq!(
        mappings.to_string(),
        "6400 sandboxes take 42496 memory mappings, and the kernel allows 30000: set \
         vm.max_map_count to 42496, or offer fewer cores with --cores"
    );
    let raised = Machine { mappings: Some(42_496), ..server() };
    assert!(Pools::new(&offer(64, GIB), &raised).is_ok(), "what it asks for is enough");
}

#[test]
fn an_offer_of_all_that_can_be_counted_is_refused_without_overflow() {
    let most = Resources::new(u32::MAX, u64::MAX);
    let strict = Machine { commit_bytes: Some(8 * GIB), memory_bytes: None, ..server() };
    assert_eq!(refused(most.clone(), server()).scarce, Scarce::Memory);
    assert_eq!(refused(most.clone(), strict).scarce, Scarce::Commit);
    assert!(Pools::new(&most, &Machine::default()).is_ok(), "nothing says what there is");
}

#[test]
fn what_idle_slots_keep_is_a_small_part_of_a_small_machine() {
    let small = Machine { memory_bytes: Some(GIB), ..server() };
    let pools = laid_out(&offer(4, GIB / 2), &small);
    let kept = |pool: Layout| pool.kept_bytes * u64::from(pool.memories + pool.tables);
    let kept = kept(pools.fuel) + pools.epoch.map_or(0, kept);
    assert!(kept <= GIB / 16 && pools.fuel.kept_bytes >= 4096, "{pools:?} keep {kept}");
}
