//! `weir dev`, `weir master` and `weir agent`: processes that run until they are told to stop.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use weir_agent::confine::{Confinement, Needs};
use weir_master::Group;
use weir_sdk::proto::{
    countable::{Countable, Countables},
    id::NodeId,
    job::MAX_NAME_BYTES,
    units::{parse_bytes, parse_duration},
};

use crate::{
    config,
    confine::ConfineFlags,
    connect::DEFAULT_ADDRESS,
    embed::{self, Cluster, Ephemeral, Offer},
    machine,
    number::within,
    signals::Interrupts,
    text,
};

/// Most cores of an agent; it would use no more.
const MAX_CORES: u32 = 4096;

/// What an agent offers to tasks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OfferFlags {
    /// Tasks that run at once, each on a core [default: all cores of this machine]
    #[arg(long, value_name = "COUNT", value_parser = within(1..=MAX_CORES))]
    cores: Option<u32>,
    /// Memory for tasks [default: three quarters of this machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// What else tasks may take, such as `gpu=2`: counted, and not looked for; repeatable
    #[arg(long, value_name = "NAME=COUNT")]
    resource: Vec<Countable>,
    /// Processor time that compiling one module may take; a task whose module takes more ends as
    /// `compile_limit` [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_compile_time)]
    compile_time: Option<Duration>,
    /// Memory that compiling one module may take, not counted in --memory [default: 4GiB, or a
    /// quarter of this machine's if that is less]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    compile_memory: Option<u64>,
    /// Disk for compiled modules; those used longest ago are removed [default: a tenth of the disk, at
    /// most 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    module_cache: Option<u64>,
    #[command(flatten)]
    confine: ConfineFlags,
}

impl OfferFlags {
    fn offer(&self, name: Option<String>) -> Result<Offer> {
        let mut offer = Offer::new(name, self.cores.map(|cores| cores as usize), self.memory);
        offer.countables = Countables::of(&self.resource).context("--resource cannot be used")?;
        if let Some(time) = self.compile_time {
            offer.compile.cpu_seconds = time.as_secs();
        }
        if let Some(bytes) = self.compile_memory {
            offer.compile.memory_bytes = bytes;
        }
        offer.module_cache_bytes = self.module_cache;
        offer.confine = self.confine.how();
        Ok(offer)
    }
}

/// Run a whole cluster in this process: master, agent and store
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir dev                                         a cluster whose jobs outlive it
  weir dev --ephemeral --cores 2 --memory 1GiB
  weir dev --data-dir data --listen 127.0.0.1:0    a port that is free")]
pub(crate) struct DevArgs {
    /// Where jobs, results and blobs are kept [default: $XDG_DATA_HOME/weir or ~/.local/share/weir]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data_dir: Option<PathBuf>,
    /// Keep nothing: a directory that is removed at the end
    #[arg(long)]
    ephemeral: bool,
    /// Where clients connect; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADDRESS, value_parser = parse_listen)]
    listen: SocketAddr,
    #[command(flatten)]
    offer: OfferFlags,
    /// The directory that is removed at the end, once it is made.
    #[arg(skip)]
    temporary: Option<TempDir>,
}

/// Run a master: it keeps the jobs, schedules their tasks and holds the store
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir master --data-dir data
  weir master --data-dir data --listen 10.0.0.1:7400 --insecure
  weir master --data-dir data --listen 127.0.0.1:7401 --node-id 1 \\
    --members 1=127.0.0.1:7401,2=127.0.0.1:7402,3=127.0.0.1:7403
  weir master --data-dir data --listen 127.0.0.1:7404 --join http://127.0.0.1:7401")]
pub(crate) struct MasterArgs {
    /// Where jobs, results and blobs are kept
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where clients and agents connect
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADDRESS, value_parser = parse_listen)]
    listen: SocketAddr,
    /// Listen off loopback without TLS: whoever reaches the port may run jobs and read data
    #[arg(long)]
    insecure: bool,
    /// Where other masters and clients reach it [default: where it listens]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_member_address)]
    advertise: Option<String>,
    /// Which of the masters of a new cluster it is
    #[arg(long, value_name = "NUMBER", requires = "members")]
    node_id: Option<u64>,
    /// All masters of a new cluster, the same for each: `1=HOST:PORT,2=HOST:PORT,3=HOST:PORT`
    #[arg(long, value_name = "LIST", requires = "node_id", value_delimiter = ',', value_parser = parse_member)]
    members: Vec<(NodeId, String)>,
    /// Become a master of the cluster of which one is there
    #[arg(long, value_name = "URL", conflicts_with = "members", value_parser = parse_member_address)]
    join: Option<String>,
}

/// Run an agent: it runs tasks for a master
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir agent --data-dir data --master http://10.0.0.1:7400
  weir agent --data-dir data --cores 4 --memory 8GiB --name big --resource gpu=1")]
pub(crate) struct AgentArgs {
    /// Address of the cluster's master, such as `http://10.0.0.1:7400` [default: WEIR_MASTER, or
    /// the setting `master`]
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// Where compiled modules and cached blobs are kept
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Name of the agent, for people [default: this machine's]
    #[arg(long, value_name = "TEXT", value_parser = parse_name)]
    name: Option<String>,
    #[command(flatten)]
    offer: OfferFlags,
    /// What holds around this process.
    #[arg(skip = Confinement::off())]
    confinement: Confinement,
}

/// Reads an address to listen on; port 0 lets the operating system choose.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:7400".to_owned())
}

/// Reads `host:port`, which may be written as a URL.
pub(crate) fn parse_member_address(text: &str) -> Result<String, String> {
    let plain = text.trim_start_matches("http://").trim_end_matches('/');
    match plain.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(plain.to_owned())
        }
        _ => Err("write a host and a port, such as 10.0.0.1:7400".to_owned()),
    }
}

/// Reads a master of a list: its number and where it is reached.
fn parse_member(text: &str) -> Result<(NodeId, String), String> {
    let (number, address) = text.split_once('=').ok_or("write `NUMBER=HOST:PORT`")?;
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    let number = number.ok_or("a master's number is a whole number from 1 on")?;
    Ok((NodeId(number), parse_member_address(address)?))
}

/// The masters that a new master is one of.
fn group(
    node_id: Option<u64>,
    members: Vec<(NodeId, String)>,
    join: Option<String>,
) -> Result<Group> {
    let count = members.len();
    let members: BTreeMap<NodeId, String> = members.into_iter().collect();
    ensure!(members.len() == count, "two masters in --members have one number");
    Ok(match (node_id, join) {
        (Some(node), _) => Group::New { node: NodeId(node), members },
        (None, Some(master)) => Group::Join { master },
        (None, None) => Group::Own,
    })
}

/// The system counts processor time in whole seconds.
fn parse_compile_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time.as_secs() == 0 || time.subsec_nanos() != 0 {
        return Err("write whole seconds, at least `1s`".to_owned());
    }
    Ok(time)
}

/// A master refuses an agent whose name could steer a terminal; better said here.
fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(format!("write 1 to {MAX_NAME_BYTES} bytes without control characters"));
    }
    Ok(text.to_owned())
}

impl DevArgs {
    /// Confines this process to its data, master's and agent's.
    ///
    /// # Errors
    /// When it is to listen where it must not, or there is no place for its data.
    pub(crate) fn confine(&mut self) -> Result<()> {
        ensure!(
            self.listen.ip().is_loopback(),
            "`weir dev` is for this machine alone and does not listen on {}; let it listen on \
             127.0.0.1, or start `weir master --insecure` and `weir agent` for other machines",
            self.listen
        );
        let mut removes_in = Vec::new();
        let data = if self.ephemeral {
            let made = self.temporary.insert(embed::temporary()?);
            removes_in.extend(made.path().parent().map(Path::to_owned));
            made.path().to_owned()
        } else {
            match &self.data_dir {
                Some(data) => data.clone(),
                None => machine::data_dir()?,
            }
        };
        let about = format!("cannot start a cluster with data in {}", data.display());
        let needs = Needs { data: vec![data], removes_in, listens: true };
        self.offer.confine.apply(&needs).context(about).map(drop)
    }
}

impl AgentArgs {
    /// Confines this process to its data.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(crate) fn confine(&mut self) -> Result<()> {
        let about = format!("cannot start an agent with data in {}", self.data_dir.display());
        let data = vec![self.data_dir.clone()];
        let needs = Needs { data, removes_in: Vec::new(), listens: false };
        self.confinement = self.offer.confine.apply(&needs).context(about)?;
        Ok(())
    }
}

/// Runs a cluster until it is told to stop.
///
/// # Errors
/// When it does not start, or its master fails.
pub(crate) async fn dev(args: DevArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let offer = args.offer.offer(None)?;
    if let Some(data) = args.temporary {
        let own = Ephemeral::start(data, args.listen, offer).await?;
        let (cluster, data) = own.into_parts();
        return run_cluster(cluster, data.path(), &mut interrupts).await;
    }
    let data_dir = match args.data_dir {
        Some(data_dir) => data_dir,
        None => machine::data_dir()?,
    };
    let cluster = Cluster::start(&data_dir, args.listen, offer).await?;
    run_cluster(cluster, &data_dir, &mut interrupts).await
}

async fn run_cluster(
    mut cluster: Cluster,
    data_dir: &Path,
    interrupts: &mut Interrupts,
) -> Result<ExitCode> {
    announce("a cluster", cluster.address(), data_dir)?;
    tokio::select! {
        biased;
        _ = interrupts.next() => {}
        failure = cluster.failed() => return Err(failure),
    }
    cluster.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a master until it is told to stop.
///
/// # Errors
/// When it does not start, or fails.
pub(crate) async fn master(args: MasterArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let group = group(args.node_id, args.members, args.join)?;
    let started = embed::start_master(
        args.data_dir.clone(),
        args.listen,
        args.insecure,
        args.advertise,
        group,
    );
    let mut master = started.await?;
    announce("a master", master.address(), &args.data_dir)?;
    tokio::select! {
        biased;
        _ = interrupts.next() => {}
        failure = embed::failure(&mut master) => return Err(failure),
    }
    master.stop().await.context("the master failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs an agent until it is told to stop.
///
/// # Errors
/// When it does not start.
pub(crate) async fn agent(args: AgentArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let offer = args.offer.offer(args.name)?;
    let named = args.master.as_deref().or_else(|| config::current().named_master());
    let named = named.context(
        "no master is named; name it with --master URL, WEIR_MASTER or `weir config set master URL`",
    )?;
    let scheme = if named.contains("://") { "" } else { "http://" };
    let master = format!("{scheme}{named}");
    let what = format!("weir: agent {} for the master at {master}", offer.name);
    let data = args.data_dir.display().to_string();
    let mut agent = embed::start_agent(args.data_dir, master, offer).await?;
    let line = format!("{}, data in {}", text::plain(&what), text::plain(&data));
    let confined = args.confinement.to_string();
    text::print(&format!("{line}; {}; Ctrl-C stops it\n", text::plain(&confined)))
        .context("cannot write to stdout")?;
    tokio::select! {
        biased;
        _ = interrupts.next() => agent.stop().await,
        () = agent.left() => text::note("all its tasks have ended, and it has left the cluster"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The one line of a server: whoever started it waits for this and reads the address from it.
fn announce(what: &str, address: SocketAddr, data_dir: &Path) -> Result<()> {
    let data = data_dir.display().to_string();
    text::print(&format!(
        "weir: {what} listens on http://{address}, data in {}; Ctrl-C stops it\n",
        text::plain(&data)
    ))
    .context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_masters_is_numbers_and_addresses() {
        assert_eq!(parse_member("2=b:7400"), Ok((NodeId(2), "b:7400".to_owned())));
        for wrong in ["b:7400", "0=b:7400", "x=b:7400", "1=b", "1=:7", "1=b:0"] {
            assert!(parse_member(wrong).is_err(), "{wrong}");
        }
        let twice = vec![(NodeId(1), "a:1".to_owned()), (NodeId(1), "b:1".to_owned())];
        assert!(group(Some(1), twice, None).is_err());
    }

    #[test]
    fn an_address_to_listen_on_may_say_localhost() {
        assert_eq!(parse_listen("localhost:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(parse_listen("7400").is_err());
        assert!(parse_listen("example.org:7400").is_err());
    }

    #[test]
    fn the_time_to_compile_is_whole_seconds() {
        assert_eq!(parse_compile_time("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_compile_time("1500ms").is_err());
        assert!(parse_compile_time("0s").is_err());
    }

    #[test]
    fn an_agents_name_cannot_steer_a_terminal() {
        assert_eq!(parse_name("pi"), Ok("pi".to_owned()));
        assert!(parse_name("pi\x1b[31m").is_err());
        assert!(parse_name("").is_err());
    }
}
