//! Compiles modules before tasks need them, one after the other, behind those that tasks wait for.
//!
//! What comes of each is told to the leader; a verdict, and the code, stay in `modules`.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::JoinHandle;
use weir_proto::{agent::Precompiled, id::Namespace};

use crate::{
    data::{TaskData, chain},
    modules::{ModuleCache, ModuleError, ModuleKey},
};

/// Most modules that wait to be compiled; more are refused.
const MAX_WAITING: usize = 256;

/// Modules to compile.
pub(crate) struct Precompiler {
    modules: Arc<ModuleCache>,
    data: Arc<dyn TaskData>,
    waiting: VecDeque<(Namespace, ModuleKey)>,
    compiling: Option<Compiling>,
    /// Answers that are known without compiling.
    answers: VecDeque<(ModuleKey, Precompiled)>,
}

/// A module that is compiled now; stopped when dropped.
struct Compiling {
    module: ModuleKey,
    running: JoinHandle<Precompiled>,
}

impl Precompiler {
    pub(crate) fn new(modules: Arc<ModuleCache>, data: Arc<dyn TaskData>) -> Precompiler {
        Precompiler {
            modules,
            data,
            waiting: VecDeque::new(),
            compiling: None,
            answers: VecDeque::new(),
        }
    }

    /// Takes a module on. One that waits already, or is compiled now, is answered once.
    pub(crate) fn ask(&mut self, namespace: Namespace, module: ModuleKey) {
        let is_compiled = self.compiling.as_ref().is_some_and(|now| now.module == module);
        if is_compiled || self.waiting.iter().any(|(_, waiting)| *waiting == module) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            let reason = format!("{MAX_WAITING} modules wait to be compiled there already");
            return self.answers.push_back((module, Precompiled::Failed { reason }));
        }
        self.waiting.push_back((namespace, module));
        self.begin();
    }

    /// The next answer; never, while there is nothing to compile. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> (ModuleKey, Precompiled) {
        if let Some(answer) = self.answers.pop_front() {
            return answer;
        }
        let Some(now) = &mut self.compiling else { return std::future::pending().await };
        let came = (&mut now.running).await;
        let module = now.module;
        self.compiling = None;
        self.begin();
        let died = |_| Precompiled::Failed { reason: "what compiled it panicked".to_owned() };
        (module, came.unwrap_or_else(died))
    }

    fn begin(&mut self) {
        if self.compiling.is_some() {
            return;
        }
        let Some((namespace, module)) = self.waiting.pop_front() else { return };
        let (modules, data) = (self.modules.clone(), self.data.clone());
        let running = tokio::spawn(async move {
            let got = modules.get_ahead(module, || data.get(&namespace, module.digest)).await;
            match got {
                Ok(_) => Precompiled::Ready,
                Err(ModuleError::Refused(refusal)) => {
                    Precompiled::Refused { reason: refusal.to_string() }
                }
                Err(error) => Precompiled::Failed { reason: chain(&error) },
            }
        });
        self.compiling = Some(Compiling { module, running });
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::{digest::Digest, metering::Metering};

    use super::*;
    use crate::{
        compiler::CompilerConfig,
        data::MemoryData,
        sandbox::{Sandbox, SandboxConfig},
    };

    fn precompiler(dir: &std::path::Path, data: Arc<MemoryData>) -> Precompiler {
        let sandbox = Sandbox::new(SandboxConfig { max_instances: 2 }).expect("a sandbox");
        let compiler = CompilerConfig::in_this_process();
        let modules = ModuleCache::open(dir, Arc::new(sandbox), compiler).expect("a cache");
        Precompiler::new(Arc::new(modules), data)
    }

    fn by_fuel(digest: Digest) -> ModuleKey {
        ModuleKey { digest, metering: Metering::Fuel }
    }

    #[tokio::test]
    async fn each_module_is_answered_with_what_came_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = Arc::new(MemoryData::new());
        let insert = |text: &str| by_fuel(data.insert(wat::parse_str(text).expect("it parses")));
        let good = insert("(module (func (export \"_start\")))");
        let bad = insert("(module)");
        let missing = by_fuel(Digest::of(b"missing"));
        let mut precompiler = precompiler(dir.path(), data.clone());
        let by_epochs = ModuleKey { metering: Metering::Epoch, ..good };
        for module in [good, bad, missing, good, bad, by_epochs] {
            precompiler.ask(Namespace::default_namespace(), module);
        }
        assert_eq!(precompiler.next().await, (good, Precompiled::Ready));
        let (refused, Precompiled::Refused { reason }) = precompiler.next().await else {
            panic!("it is refused")
        };
        assert!(refused == bad && reason.starts_with("invalid module: "), "{reason}");
        let (failed, Precompiled::Failed { .. }) = precompiler.next().await else {
            panic!("it is not there")
        };
        assert_eq!(failed, missing);
        assert_eq!(precompiler.next().await, (by_epochs, Precompiled::Ready));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 2);
    }

    #[tokio::test]
    async fn a_full_line_refuses_more_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut precompiler = precompiler(dir.path(), Arc::new(MemoryData::new()));
        let module = |number: usize| by_fuel(Digest::of(&number.to_le_bytes()));
        for number in 0..MAX_WAITING + 2 {
            precompiler.ask(Namespace::default_namespace(), module(number));
        }
        let (refused, Precompiled::Failed { reason }) = precompiler.next().await else {
            panic!("it is refused")
        };
        assert_eq!(refused, module(MAX_WAITING + 1));
        assert!(reason.contains("256 modules wait"), "{reason}");
        assert_eq!(precompiler.next().await.0, module(0));
    }
}
