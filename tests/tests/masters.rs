//! Three masters and two agents as processes: the leader is killed in the middle of an array while
//! a client watches; a master joins, is handed the lead, and another is removed.

#[path = "masters/blobs.rs"]
mod blobs;

#[path = "masters/wrong.rs"]
mod wrong;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{
        id::{JobId, Namespace},
        job::{JobSpec, StageSpec, TaskKind},
        page::Output,
    },
    watch::WatchOptions,
};
use weir_tests::{
    cluster::{PATIENCE, Process, Server, Weir, poll},
    guests::guest,
};

/// Tasks of the array, and rounds of the guest `checksum` that take each some milliseconds.
const TASKS: u32 = 3_000;
const ROUNDS: &str = "1000000";
/// The leader is killed when so many are done.
const KILLED_AT: u32 = TASKS / 4;
/// How often something is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Masters, each with data of its own.
struct Masters {
    servers: Vec<(Server, tempfile::TempDir)>,
    addresses: Vec<String>,
}

impl Masters {
    /// A new cluster of three.
    fn three() -> Masters {
        let addresses = free_addresses(3);
        let numbered = (1..).zip(&addresses).map(|(node, address)| format!("{node}={address}"));
        let list = numbered.collect::<Vec<String>>().join(",");
        let start = |(node, address): (usize, &String)| {
            let data = tempfile::tempdir().expect("a directory");
            let node = (node + 1).to_string();
            let flags = ["--node-id", &node, "--members", &list];
            (Server::one_of(data.path(), address, &flags), data)
        };
        Masters { servers: addresses.iter().enumerate().map(start).collect(), addresses }
    }

    /// Where they are, for a client.
    fn list(&self) -> String {
        self.addresses.join(",")
    }

    fn weir(&self, args: &[&str]) -> Weir {
        Weir::new(args).env("WEIR_MASTER", self.list())
    }

    fn members(&self) -> Vec<Value> {
        let members = self.weir(&["cluster", "members", "--json"]).run().exited_with(0).json();
        members.as_array().expect("an array").clone()
    }

    /// Waits until the members are so; returns them.
    fn wait_until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut members = Vec::new();
        let there = poll(PATIENCE, || {
            members = self.members();
            holds(&members)
        });
        assert!(there, "{what}: {members:#?}");
        members
    }

    /// Ends one as a power cut would; its data is left.
    fn kill(&mut self, address: &str) -> tempfile::TempDir {
        let at = self.servers.iter().position(|(server, _)| server.address() == address);
        let (server, data) = self.servers.remove(at.expect("one of ours"));
        server.kill();
        data
    }

    /// Starts one on what it left.
    fn start_again(&mut self, address: &str, data: tempfile::TempDir) {
        self.servers.push((Server::one_of(data.path(), address, &[]), data));
    }

    /// Ends the leader as a power cut would; returns where it was.
    fn kill_leader(&mut self) -> String {
        let members = self.members();
        let leader = members.iter().find(|member| member["leads"] == true).expect("a leader");
        let address = leader["address"].as_str().expect("an address").to_owned();
        self.kill(&address);
        address
    }

    fn agents(&self, data: &tempfile::TempDir) -> Vec<Process> {
        let agents = (0..2).map(|number: u32| {
            let name = format!("agent-{number}");
            let agent = self.weir(&["agent", "--name", &name, "--cores", "1", "--memory", "1GiB"]);
            agent.arg("--data-dir").arg(data.path().join(&name)).start()
        });
        let agents = agents.collect();
        let live = || {
            let status = self.weir(&["status", "--json"]).run().exited_with(0).json();
            let agents = status["agents"].as_array().expect("agents").clone();
            agents.iter().filter(|agent| agent["live"] == true).count()
        };
        assert!(poll(PATIENCE, || live() == 2), "two agents are live");
        agents
    }
}

/// Ports that were free a moment ago.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    listeners.iter().map(address).collect()
}

fn members_vote(members: &[Value]) -> bool {
    let votes = |member: &Value| member["role"] == "leader" || member["role"] == "follower";
    members.len() == 3 && members.iter().all(votes) && leader_is_known(members)
}

fn leader_is_known(members: &[Value]) -> bool {
    members.iter().any(|member| member["leads"] == true)
}

async fn submit(client: &Client) -> JobId {
    let module = client.put_file(&guest("checksum")).await.expect("the module is put");
    let stage = StageSpec {
        args: vec![ROUNDS.to_owned()],
        count: TASKS,
        kind: TaskKind::Array,
        ..StageSpec::new("main", module)
    };
    let namespace = Namespace::default_namespace();
    let spec = JobSpec { name: "array".to_owned(), namespace, stages: vec![stage], priority: 0 };
    client.submit(spec).await.expect("the job is accepted")
}

/// Watches a job to its end, over whatever happens; its results, each task's once.
async fn results(client: Client, job: JobId) -> BTreeMap<u32, (u64, Vec<u8>)> {
    let mut watch = client.watch(job, WatchOptions { after: None, live: false, follow: true });
    let mut results = BTreeMap::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("something happens");
        match next.expect("the watch goes on").expect("it goes on until the end") {
            JobEvent::Results(page) => {
                for (task, result) in page.iter() {
                    assert!(result.outcome.succeeded(), "task {task}: {}", result.outcome);
                    let Output::Inline(stdout) = &result.stdout else { panic!("a short output") };
                    let result = (result.usage.fuel, stdout.clone());
                    assert!(results.insert(task, result).is_none(), "task {task} has two results");
                }
            }
            JobEvent::Verdict { range, outcome } => panic!("tasks {range}: {outcome}"),
            JobEvent::Ended(view) => {
                assert_eq!((view.summary.succeeded, view.summary.failed), (TASKS, 0));
                return results;
            }
            JobEvent::Live(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_goes_on_when_the_leader_is_killed_and_every_task_has_one_result() {
    let mut masters = Masters::three();
    masters.wait_until("all three answer", members_vote);
    let data = tempfile::tempdir().expect("a directory");
    let _agents = masters.agents(&data);
    let client = Client::connect(&masters.list()).await.expect("they answer");
    let job = submit(&client).await;
    let watching = tokio::spawn(results(client.clone(), job));
    let done = async || {
        let view = client.job(job).await.expect("the job is known");
        view.summary.succeeded
    };
    while done().await < KILLED_AT {
        tokio::time::sleep(POLL).await;
    }
    let killed = Instant::now();
    let gone = masters.kill_leader();
    let before = done().await;
    assert!(before >= KILLED_AT, "{before} of {KILLED_AT} results are left");
    println!("a job is told again {:.1?} after its leader was killed", killed.elapsed());
    while done().await <= before {
        tokio::time::sleep(POLL).await;
    }
    println!("and goes on {:.1?} after", killed.elapsed());
    let results = watching.await.expect("the watch ends");
    assert_eq!(results.len(), TASKS as usize);
    let members = masters.wait_until("another leads", leader_is_known);
    let old = members.iter().find(|member| member["address"] == *gone).expect("a member still");
    assert_eq!(old["role"], "away");
}

#[test]
fn a_master_joins_is_handed_the_lead_and_another_is_removed() {
    let mut masters = Masters::three();
    masters.wait_until("somebody leads", leader_is_known);
    let address = free_addresses(1).remove(0);
    let data = tempfile::tempdir().expect("a directory");
    let first = format!("http://{}", masters.addresses[0]);
    let joined = Server::one_of(data.path(), &address, &["--join", &first]);
    masters.servers.push((joined, data));
    masters.addresses.push(address.clone());
    let follows = |members: &[Value]| {
        let new = members.iter().find(|member| member["node"] == "node-4");
        new.is_some_and(|new| new["role"] == "follower" && new["lag"] == 0)
    };
    masters.wait_until("node-4 votes", follows);
    masters.weir(&["cluster", "transfer-leader", "node-4"]).run().exited_with(0);
    let leads =
        |members: &[Value]| members.iter().any(|m| m["node"] == "node-4" && m["leads"] == true);
    masters.wait_until("node-4 leads", leads);

    masters.weir(&["cluster", "remove-member", "node-4"]).run().says(&["node-4 leads"]);
    masters.weir(&["cluster", "remove-member", "node-1"]).run().exited_with(0);
    masters.wait_until("three are left", |members| {
        members.len() == 3 && members.iter().all(|member| member["node"] != "node-1")
    });
    masters.servers.remove(0).0.kill();
    masters.addresses.remove(0);
    masters.wait_until("all answer", |members| members.iter().all(|m| m["role"] != "away"));
}
