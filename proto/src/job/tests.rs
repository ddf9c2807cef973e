//! Jobs that read back as they were written, and everything that is wrong with others.

use super::*;

fn spec() -> wire::JobSpec {
    let stage = StageSpec {
        args: vec!["a".to_owned()],
        env: vec![("K".to_owned(), "V".to_owned())],
        inputs: vec![Input {
            path: "/in/text".to_owned(),
            source: InputSource::Tree(Digest::of(b"tree")),
            writable: true,
        }],
        count: 3,
        kind: TaskKind::Foreach { manifest: Digest::of(b"manifest") },
        stdin: Stdin::Item,
        resources: Resources {
            countables: [("gpu", 2), ("licence", 1)].into_iter().collect(),
            ..Resources::new(500, 1 << 20)
        },
        success_codes: vec![10],
        retries: 2,
        keep: Keep::Paths(vec!["a/b".to_owned()]),
        seed: 7,
        capabilities: ["clock", "net:example.org:443"]
            .map(|word| word.parse().expect("a capability"))
            .into(),
        coredump: true,
        metering: Metering::Epoch,
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    let namespace = Namespace::default_namespace();
    JobSpec { name: "job".to_owned(), namespace, stages: vec![stage], priority: -3 }.into()
}

#[test]
fn a_job_reads_back_as_it_was_written() {
    let wire = spec();
    let parsed = JobSpec::try_from(wire.clone()).expect("a valid job");
    assert_eq!(wire::JobSpec::from(parsed), wire);
}

#[test]
fn a_stage_that_says_nothing_of_metering_is_metered_by_fuel() {
    let mut wire = spec();
    wire.stages[0].capabilities.clear();
    let read = |wire: &wire::JobSpec| {
        JobSpec::try_from(wire.clone()).map(|job| {
            let stage = &job.stages[0];
            (stage.metering, stage.is_pure())
        })
    };
    assert_eq!(read(&wire), Ok((Metering::Epoch, false)));
    wire.stages[0].metering = 0;
    assert_eq!(read(&wire), Ok((Metering::Fuel, true)));
    wire.stages[0].metering = 7;
    let SpecProblems(problems) = read(&wire).expect_err("a later version's");
    assert!(problems[0].contains("metering is invalid: 7"), "{problems:?}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut wire = spec();
    wire.namespace = "No Such".to_owned();
    wire.stages[0].count = 0;
    wire.stages[0].inputs[0].path = "/etc/../passwd".to_owned();
    wire.stages[0].limits = Some(wire::Limits::default());
    let gpu = wire::Countable { name: "GPU".to_owned(), count: 1 };
    wire.stages[0].resources =
        Some(wire::Resources { cpu_millis: 9, memory_bytes: 1, countables: vec![gpu] });
    wire.stages[0].manifest = None;
    wire.stages[0].retries = 1_000;
    wire.stages[0].keep_paths = vec!["/etc".to_owned()];
    wire.priority = 1_000;
    let SpecProblems(problems) = JobSpec::try_from(wire).expect_err("an invalid job");
    let expected = [
        "namespace",
        "count",
        "/etc/../passwd",
        "fuel",
        "memory_bytes",
        "timeout_ms",
        "cpu_millis is 9",
        "\"GPU\"",
        "no items",
        "retries",
        "\"/etc\"",
        "priority",
    ];
    for word in expected {
        assert!(problems.iter().any(|p| p.contains(word)), "{word} in {problems:?}");
    }
}

#[test]
fn capabilities_are_few_and_each_bad_one_is_named() {
    let mut wire = spec();
    let grant = |port: usize| format!("net:example.org:{port}");
    wire.stages[0].capabilities = (1..=MAX_CAPABILITIES).map(grant).collect();
    let parsed = JobSpec::try_from(wire.clone()).expect("as many as may be");
    assert_eq!(parsed.stages[0].capabilities.len(), MAX_CAPABILITIES);
    wire.stages[0].capabilities.push(grant(443));
    let problems = JobSpec::try_from(wire.clone()).expect_err("one too many").0;
    assert_eq!(problems, ["there are 65 capabilities; at most 64 may be"]);
    wire.stages[0].capabilities = vec!["clocks".to_owned(), "net:*:0".to_owned()];
    let problems = JobSpec::try_from(wire).expect_err("neither is one").0;
    assert!(problems[0].contains("clocks") && problems[1].contains("port"), "{problems:?}");
}

#[test]
fn inputs_may_not_lie_inside_each_other() {
    let mut wire = spec();
    let mut inner = wire.stages[0].inputs[0].clone();
    inner.path = "/in/text/more".to_owned();
    wire.stages[0].inputs.push(inner);
    assert!(JobSpec::try_from(wire).is_err());
}

#[test]
fn an_input_is_at_an_absolute_path_that_is_free() {
    for path in ["/in/a/b", "/", "/data", "/outer", "/in"] {
        assert_eq!(guest_path_problem(path), None, "{path}");
    }
    for path in ["/in/", "/in/../etc", "/in//a", "in/a", "", "/out/a", "/out", "/in/a/.", "/tmp"] {
        assert!(guest_path_problem(path).is_some(), "{path}");
    }
}
