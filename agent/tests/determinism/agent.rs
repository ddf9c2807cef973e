//! An agent's executor over an engine of any variant, and its runs of guests.

use std::{collections::HashMap, sync::Arc};

use tokio::runtime::Handle;
use weir_agent::{
    compiler::CompilerConfig,
    data::MemoryData,
    executor::{End, Executor, ExecutorConfig, Finished},
    modules::ModuleCache,
    profile::{self, Variant},
    sandbox::{Sandbox, SandboxConfig},
};
use weir_proto::{
    id::{JobId, LeaseId, Namespace, StageId},
    job::{Input, InputSource, Keep, StageSpec, Stdin},
    lease::Lease,
    limits::Limits,
    metering::Metering,
    page::TaskResult,
    range::TaskRange,
};

use crate::{guests::Guest, record::Record};

/// Guests that are under way together.
const TOGETHER: usize = 4;

pub(crate) struct Agent {
    executor: Executor,
    data: Arc<MemoryData>,
    images: bool,
    metering: Metering,
    _dir: tempfile::TempDir,
}

impl Agent {
    pub(crate) fn start(variant: Variant, metering: Metering) -> Agent {
        let sandbox = Sandbox::of(variant, SandboxConfig { max_instances: 20 });
        let sandbox = Arc::new(sandbox.expect("a sandbox"));
        let dir = tempfile::tempdir().expect("a directory");
        let compiler = CompilerConfig { cores: 2, ..CompilerConfig::in_this_process() };
        let modules = ModuleCache::open(dir.path().join("modules"), sandbox.clone(), compiler);
        let data = Arc::new(MemoryData::new());
        let executor = Executor::start(
            ExecutorConfig { workers: 2, scratch_dir: dir.path().join("scratch") },
            sandbox,
            Arc::new(modules.expect("a cache")),
            data.clone(),
            Handle::current(),
        );
        let executor = executor.expect("an executor");
        Agent { executor, data, images: variant.images, metering, _dir: dir }
    }

    /// A record for each guest, in their order.
    pub(crate) async fn run_all(&self, guests: &[&Guest]) -> Vec<Record> {
        let mut records = Vec::new();
        for (batch, guests) in guests.chunks(TOGETHER).enumerate() {
            let seqs = (batch * TOGETHER) as u64..;
            let leases: Vec<(Lease, &Guest)> = guests
                .iter()
                .zip(seqs)
                .map(|(guest, seq)| (self.lease(guest, seq), *guest))
                .collect();
            let mut ended = self.run(&leases).await;
            for (lease, guest) in leases {
                let result = ended.remove(&lease.id).expect("each has ended");
                records.push(Record::of(result, self.extra_fuel(guest), &self.data));
            }
        }
        records
    }

    async fn run(&self, leases: &[(Lease, &Guest)]) -> HashMap<LeaseId, TaskResult> {
        leases.iter().for_each(|(lease, _)| self.executor.grant(lease));
        let mut ended = HashMap::new();
        while ended.len() < leases.len() {
            for Finished { lease, end, .. } in self.executor.take_finished() {
                let End::Result(result) = end else { panic!("{end:?}") };
                ended.insert(lease, result);
            }
            if ended.len() < leases.len() {
                self.executor.changed().await;
            }
        }
        leases.iter().for_each(|(lease, _)| self.executor.stop(lease.id));
        ended
    }

    /// By epochs fuel is time, and a machine may be slow.
    fn fuel_limit(&self, guest: &Guest) -> u64 {
        match self.metering {
            Metering::Fuel => guest.limits.fuel + self.extra_fuel(guest),
            Metering::Epoch => guest.limits.fuel.saturating_mul(20),
        }
    }

    /// What is billed for data segments where there are no images.
    fn extra_fuel(&self, guest: &Guest) -> u64 {
        if self.images { 0 } else { guest.data_fuel.unwrap_or(0) }
    }

    fn lease(&self, guest: &Guest, seq: u64) -> Lease {
        let blob = |bytes: &'static [u8]| InputSource::Blob(self.data.insert(bytes));
        let files: &[(&str, &[u8])] = &[("b", b"second"), ("a", b"first"), ("c", b"")];
        let tree = InputSource::Tree(self.data.insert_tree(files));
        let input =
            |path: &str, source, writable| Input { path: path.to_owned(), source, writable };
        let mut inputs = vec![
            input("/in/f", blob(b"an input"), false),
            input("/in/d", tree, false),
            input("/rw/f", blob(b"to be changed"), true),
            input("/rw/d", tree, true),
        ];
        for (path, bytes) in &guest.inputs {
            let source = InputSource::Blob(self.data.insert(bytes.clone()));
            inputs.push(input(path, source, false));
        }
        Lease {
            id: LeaseId { term: 1, seq },
            stage: StageId { job: JobId(seq), stage: 0 },
            range: TaskRange::new(0, 1),
            slots: 1,
            namespace: Namespace::default_namespace(),
            spec: StageSpec {
                args: guest.args.clone(),
                env: vec![("GREETING".to_owned(), "hello".to_owned())],
                stdin: Stdin::Blob(self.data.insert(&b"some input\nof two lines\n"[..])),
                inputs,
                keep: Keep::Out,
                success_codes: vec![3],
                metering: self.metering,
                limits: Limits { fuel: self.fuel_limit(guest), ..guest.limits },
                ..StageSpec::new("main", self.data.insert(guest.module.clone()))
            },
            profile: profile::name(self.metering).to_owned(),
            weights: Vec::new(),
        }
    }
}
