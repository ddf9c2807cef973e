//! Programs that compilers made: what each is run with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_proto::{digest::Digest, limits::Limits};

use crate::{data_segments, guests::Guest};

/// What programs may use: an interpreter takes seconds to start.
const LIMITS: Limits = Limits {
    fuel: 20_000_000_000,
    memory_bytes: 1 << 30,
    timeout_ms: 3_600_000,
    output_bytes: 16 << 20,
    scratch_bytes: 16 << 20,
};

/// From this size on it takes a minute to compile a module.
const LARGE_BYTES: usize = 32 << 20;

/// How a program is run.
struct Run {
    program: &'static str,
    args: &'static [&'static str],
    /// A file of `sources/` for each path.
    inputs: &'static [(&'static str, &'static str)],
}

const fn run(program: &'static str, args: &'static [&'static str]) -> Run {
    Run { program, args, inputs: &[] }
}

/// The programs of `examples-wasm/`.
const EXAMPLES: &[Run] = &[
    run("checksum", &["20000"]),
    run("echo", &["hello", "world"]),
    run("exit-code", &["7"]),
    run("hog", &[]),
    run("mandelbrot", &["--width", "64", "--height", "64"]),
    run("png-stitch", &[]),
    run("sleeper", &["3600000"]),
    run("spin", &["1"]),
    run("trap", &["unreachable"]),
    run("trap", &["panic"]),
    run("trap", &["divide-by-zero"]),
    run("trap", &["out-of-bounds"]),
    run("trap", &["stack-overflow"]),
    run("word-count", &[]),
    run("writer", &["20", "3000", "--stdout"]),
];

/// The programs that `scripts/corpus.sh` makes.
const CORPUS: &[Run] = &[
    run("assemblyscript-floats", &[]),
    run("assemblyscript-primes", &[]),
    Run {
        program: "boolector",
        args: &["--smt2", "/in/factors.smt2"],
        inputs: &[("/in/factors.smt2", "factors.smt2")],
    },
    run("c-elementary", &[]),
    run("c-pack", &[]),
    run("c-sort", &[]),
    run("cpp-containers", &[]),
    run("cpp-life", &[]),
    run("go-goroutines", &[]),
    run("go-maps", &["an argument"]),
    run("python-app", &["an argument"]),
    Run {
        program: "resvg",
        args: &["/in/drawing.svg", "/out/drawing.png"],
        inputs: &[("/in/drawing.svg", "drawing.svg")],
    },
    Run {
        program: "yosys",
        args: &["-s", "/in/synthesize.ys"],
        inputs: &[("/in/synthesize.ys", "synthesize.ys"), ("/in/counter.v", "counter.v")],
    },
];

/// The example guests, which `make guests` builds.
pub(crate) fn examples() -> Vec<Guest> {
    let dir = repository().join("examples-wasm/target/wasm32-wasip1/release");
    EXAMPLES.iter().map(|run| run.guest(&dir)).collect()
}

/// What `scripts/corpus.sh` says it has made in a directory.
pub(crate) fn corpus(dir: &Path) -> Vec<Guest> {
    let manifest = fs::read_to_string(dir.join("manifest.txt")).expect("scripts/corpus.sh has run");
    let guest = |name: &str| {
        let run = CORPUS.iter().find(|run| run.program == name);
        let run = run.unwrap_or_else(|| panic!("nobody says how to run {name}"));
        // Libraries look at the clock whether or not the program does.
        Guest { sees_time: true, ..run.guest(dir) }
    };
    manifest.lines().map(guest).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

impl Run {
    fn guest(&self, dir: &Path) -> Guest {
        let path = dir.join(self.program).with_extension("wasm");
        let module = fs::read(&path)
            .unwrap_or_else(|error| panic!("{}, see `make guests`: {error}", path.display()));
        let sources = repository().join("agent/tests/determinism/sources");
        let inputs = self.inputs.iter().map(|(path, source)| {
            let bytes = fs::read(sources.join(source)).expect("a source");
            ((*path).to_owned(), bytes)
        });
        let words: Vec<&str> = [self.program].iter().chain(self.args).copied().collect();
        // Another compiler makes another program, whose fuel is its own.
        let digest = Digest::of(&module).to_string();
        Guest {
            name: format!("{}, {}", words.join(" "), &digest[..24]),
            args: self.args.iter().map(|arg| (*arg).to_owned()).collect(),
            inputs: inputs.collect(),
            limits: LIMITS,
            sees_time: false,
            fuses_nans: false,
            data_fuel: data_segments::fuel(&module),
            is_large: module.len() >= LARGE_BYTES,
            module,
        }
    }
}
