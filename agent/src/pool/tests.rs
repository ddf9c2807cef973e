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
fn mappings(layout: Layout) -> u64 {
    OTHER_MAPPINGS
        + STACK_MAPPINGS * u64::from(layout.sandboxes)
        + MEMORY_MAPPINGS * u64::from(layout.memories)
}

fn refused(resources: Resources, machine: Machine) -> LayoutError {
    Layout::new(&resources, &machine).expect_err("it does not fit")
}

#[test]
fn a_small_offer_has_room_for_paused_tasks_and_for_modules_with_two_memories() {
    let layout = Layout::new(&offer(2, 4 * GIB), &server()).expect("it fits");
    assert_eq!((layout.sandboxes, layout.memories, layout.tables), (400, 800, 1_600));
    assert_eq!(layout.kept_bytes, MAX_KEPT_BYTES);
}

#[test]
fn ten_thousand_sandboxes_fit_the_usual_mappings() {
    let layout = Layout::new(&offer(100, 256 * GIB), &server()).expect("it fits");
    assert_eq!(layout.sandboxes, 10_000);
    assert!(layout.memories >= 10_000, "{layout:?}");
    assert!((65_000..=65_530).contains(&mappings(layout)), "{layout:?}");
}

#[test]
fn more_cores_than_sandboxes_can_be_leased_on_change_nothing() {
    let hundred = Layout::new(&offer(100, GIB), &server());
    assert_eq!(Layout::new(&offer(4096, GIB), &server()), hundred);
    assert!(hundred.is_ok());
}

#[test]
fn a_pool_takes_what_there_is_between_the_least_and_the_usual() {
    let machine = Machine { mappings: Some(OTHER_MAPPINGS + 6 * 250), ..server() };
    let layout = Layout::new(&offer(2, GIB), &machine).expect("200 fit");
    assert_eq!((layout.sandboxes, layout.memories), (250, 250));
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
    let layout = Layout::new(&offer(2, GIB), &exactly).expect("200 fit");
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
    assert!(Layout::new(&offer(64, GIB), &raised).is_ok(), "what it asks for is enough");
}

#[test]
fn an_offer_of_all_that_can_be_counted_is_refused_without_overflow() {
    let most = Resources::new(u32::MAX, u64::MAX);
    let strict = Machine { commit_bytes: Some(8 * GIB), memory_bytes: None, ..server() };
    assert_eq!(refused(most.clone(), server()).scarce, Scarce::Memory);
    assert_eq!(refused(most.clone(), strict).scarce, Scarce::Commit);
    assert!(Layout::new(&most, &Machine::default()).is_ok(), "nothing says what there is");
}

#[test]
fn what_idle_slots_keep_is_a_small_part_of_a_small_machine() {
    let small = Machine { memory_bytes: Some(GIB), ..server() };
    let layout = Layout::new(&offer(4, GIB / 2), &small).expect("it fits");
    let kept = layout.kept_bytes * u64::from(layout.memories + layout.tables);
    assert!(kept <= GIB / 16 && layout.kept_bytes >= 4096, "{layout:?} keep {kept}");
}
