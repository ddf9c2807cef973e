//! The state as bytes: for snapshots, and for the hash by which masters compare themselves.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;
use weir_proto::{
    digest::Digest,
    feature::FEATURE_LEVEL,
    id::{AgentId, ClusterId, JobId, LeaseId, Namespace, NodeId, RequestId},
    job::SpecProblems,
    malformed::Malformed,
    name::{Name, NamedSource},
    outcome::{Cause, Outcome},
    range::{RangeSet, TaskRange},
    weight::{weight_from_wire, weight_to_wire},
    wire,
};

use crate::{
    members::{Member, Role},
    stage::{CauseCount, Granted, PageRef, Stage, Verdict},
    state::{AgentLife, AgentRecord, ClusterState, Job, JobLife, NameRecord},
    times::Times,
};

/// The newest version of snapshots this binary writes and reads: 2 from feature level 1 on.
pub const SNAPSHOT_VERSION: u32 = 2;

/// The state as bytes; equal states have equal bytes.
pub fn encode(state: &ClusterState) -> Vec<u8> {
    wire::Snapshot {
        version: if state.feature_level == 0 { 1 } else { SNAPSHOT_VERSION },
        index: state.applied,
        cluster: state.cluster.map_or(0, |cluster| cluster.0),
        now_ms: state.now_ms,
        next_job: state.last_job,
        agents: state.agents.values().map(encode_agent).collect(),
        jobs: state.jobs.values().map(|job| encode_job(job)).collect(),
        names: state.names.iter().map(encode_name).collect(),
        events: state.events.iter().map(|event| event.clone().into()).collect(),
        weights: state.weights.iter().map(|(of, weight)| weight_to_wire(of, *weight)).collect(),
        members: state.members.iter().map(encode_member).collect(),
        last_node: state.last_node,
        feature_level: state.feature_level,
    }
    .encode_to_vec()
}

/// The hash of the state: masters that applied the same index have the same.
pub fn hash(state: &ClusterState) -> Digest {
    Digest::of(&encode(state))
}

/// Reads a state from its bytes.
///
/// # Errors
/// `TooNew` or `FeatureLevel` when a newer Weir wrote it, otherwise what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<ClusterState, Malformed> {
    let wire = wire::Snapshot::decode(bytes)
        .map_err(|source| Malformed::Undecodable { what: "snapshot", source })?;
    if wire.version > SNAPSHOT_VERSION {
        let (found, known) = (wire.version, SNAPSHOT_VERSION);
        return Err(Malformed::TooNew { what: "snapshot", found, known });
    }
    if wire.feature_level > FEATURE_LEVEL {
        let (found, known) = (wire.feature_level, FEATURE_LEVEL);
        return Err(Malformed::FeatureLevel { found, known });
    }
    let mut state = ClusterState {
        applied: wire.index,
        feature_level: wire.feature_level,
        cluster: (wire.cluster != 0).then_some(ClusterId(wire.cluster)),
        now_ms: wire.now_ms,
        last_job: wire.next_job,
        last_node: wire.last_node,
        ..ClusterState::default()
    };
    for wire::MemberState { node, address, learner, data } in wire.members {
        let role = if learner { Role::Learner } else { Role::Voter };
        state.members.insert(NodeId(node), Member { address, role, data });
    }
    for agent in wire.agents {
        let agent = decode_agent(agent)?;
        state.agents.insert(agent.description.id, agent);
    }
    for name in wire.names {
        let named = NamedSource::try_from(name)?;
        let record = NameRecord { target: named.target, set_ms: named.set_ms };
        state.names.insert((named.namespace, named.name), record);
    }
    for weight in wire.weights {
        let (namespace, weight) = weight_from_wire(weight)?;
        state.weights.insert(namespace, weight);
    }
    for event in wire.events {
        state.events.push_back(event.try_into()?);
    }
    for job in wire.jobs {
        let job = decode_job(job)?;
        state.requests.insert(job.request, job.id);
        if job.is_active() {
            state.active.insert(job.id);
            let backlog = state.backlog.entry(job.spec.namespace.clone()).or_default();
            backlog.jobs += 1;
            for (stage, spec) in job.stages.iter().zip(&job.spec.stages) {
                backlog.tasks += u64::from(spec.count.saturating_sub(stage.done.len()));
            }
        }
        state.jobs.insert(job.id, Arc::new(job));
    }
    Ok(state)
}

fn encode_member((node, member): (&NodeId, &Member)) -> wire::MemberState {
    let learner = member.role == Role::Learner;
    let (address, data) = (member.address.clone(), member.data);
    wire::MemberState { node: node.0, address, learner, data }
}

fn encode_name((key, record): (&(Namespace, Name), &NameRecord)) -> wire::NameState {
    let (namespace, name) = key.clone();
    NamedSource { namespace, name, target: record.target, set_ms: record.set_ms }.into()
}

fn encode_agent(agent: &AgentRecord) -> wire::AgentState {
    let (lost, left, since_ms) = match agent.life {
        AgentLife::Live { since_ms } => (false, false, since_ms),
        AgentLife::Lost { since_ms } => (true, false, since_ms),
        AgentLife::Left { since_ms } => (false, true, since_ms),
    };
    wire::AgentState {
        agent: Some(agent.description.clone().into()),
        since_ms,
        lost,
        left,
        draining: agent.draining,
    }
}

fn decode_agent(wire: wire::AgentState) -> Result<AgentRecord, Malformed> {
    let since_ms = wire.since_ms;
    let life = match (wire.lost, wire.left) {
        (true, _) => AgentLife::Lost { since_ms },
        (false, true) => AgentLife::Left { since_ms },
        (false, false) => AgentLife::Live { since_ms },
    };
    let description = wire.agent.ok_or(Malformed::Missing { what: "an agent" })?.try_into()?;
    Ok(AgentRecord { description, life, draining: wire.draining })
}

fn encode_job(job: &Job) -> wire::JobState {
    let (ended_ms, cancelled) = match job.life {
        JobLife::Active => (None, false),
        JobLife::Ended { at_ms, cancelled } => (Some(at_ms), cancelled),
    };
    wire::JobState {
        id: job.id.0,
        spec: Some((*job.spec).clone().into()),
        request: job.request.0.to_vec(),
        submitted_ms: job.submitted_ms,
        ended_ms,
        cancelled,
        stages: job.stages.iter().map(|stage| encode_stage(stage)).collect(),
        retry_of: job.retry_of.map(|job| job.0),
    }
}

fn decode_job(wire: wire::JobState) -> Result<Job, Malformed> {
    let spec = wire.spec.ok_or(Malformed::Missing { what: "a job's spec" })?;
    let spec = spec.try_into().map_err(|problems: SpecProblems| Malformed::Invalid {
        what: "a job's spec",
        why: problems.to_string(),
    })?;
    Ok(Job {
        id: JobId(wire.id),
        spec: Arc::new(spec),
        request: RequestId::try_from(&wire.request[..])?,
        submitted_ms: wire.submitted_ms,
        life: match wire.ended_ms {
            None => JobLife::Active,
            Some(at_ms) => JobLife::Ended { at_ms, cancelled: wire.cancelled },
        },
        stages: wire
            .stages
            .into_iter()
            .map(|stage| decode_stage(stage).map(Arc::new))
            .collect::<Result<_, _>>()?,
        retry_of: wire.retry_of.map(JobId),
    })
}

fn encode_stage(stage: &Stage) -> wire::StageState {
    let verdicts = stage.verdicts.iter().map(|verdict| verdict.clone().into());
    wire::StageState {
        leased_through: stage.leased_through,
        pages: stage.pages.iter().map(encode_page_ref).collect(),
        losses: encode_counts(&stage.losses),
        verdicts: verdicts.collect(),
        attempts: encode_counts(&stage.attempts),
        retried: stage.retried,
        causes: stage.causes.iter().map(encode_cause).collect(),
        time_buckets: stage.times.to_wire(),
        wall_us: stage.times.sum_us,
        paused: stage.paused.to_wire(),
        granted: stage.granted.iter().map(encode_granted).collect(),
    }
}

fn encode_granted((lease, granted): (&LeaseId, &Granted)) -> wire::Granted {
    wire::Granted {
        lease: Some((*lease).into()),
        agent: granted.agent.0,
        connection: granted.connection,
        tasks: granted.tasks.to_wire(),
    }
}

fn decode_granted(wire: wire::Granted) -> Result<(LeaseId, Granted), Malformed> {
    let lease = wire.lease.ok_or(Malformed::Missing { what: "the id of a lease" })?;
    let tasks = RangeSet::from_wire(&wire.tasks)?;
    let agent = AgentId(wire.agent);
    Ok((lease.into(), Granted { agent, connection: wire.connection, tasks }))
}

fn decode_stage(wire: wire::StageState) -> Result<Stage, Malformed> {
    let mut stage = Stage { leased_through: wire.leased_through, ..Stage::default() };
    for page in wire.pages {
        stage.add_page(decode_page_ref(page)?);
    }
    for verdict in wire.verdicts {
        stage.add_verdict(verdict.try_into()?);
    }
    stage.losses = decode_counts(&wire.losses);
    stage.attempts = decode_counts(&wire.attempts);
    stage.retried = wire.retried;
    stage.paused = RangeSet::from_wire(&wire.paused)?;
    stage.granted = wire.granted.into_iter().map(decode_granted).collect::<Result<_, _>>()?;
    stage.causes = wire.causes.into_iter().map(decode_cause).collect();
    stage.times = Times::from_wire(&wire.time_buckets, wire.wall_us)?;
    Ok(stage)
}

fn encode_counts(counts: &BTreeMap<u32, u32>) -> Vec<wire::Loss> {
    counts.iter().map(|(index, agents)| wire::Loss { index: *index, agents: *agents }).collect()
}

fn decode_counts(wire: &[wire::Loss]) -> BTreeMap<u32, u32> {
    wire.iter().map(|loss| (loss.index, loss.agents)).collect()
}

/// A cause as the wire carries it, in snapshots and to clients.
pub fn encode_cause((cause, count): (&Cause, &CauseCount)) -> wire::Cause {
    wire::Cause {
        kind: u32::from(cause.kind),
        detail: cause.detail.clone(),
        tasks: count.tasks,
        first: count.first,
    }
}

fn decode_cause(wire: wire::Cause) -> (Cause, CauseCount) {
    let kind = u8::try_from(wire.kind).unwrap_or(u8::MAX);
    let cause = Cause { kind, detail: wire.detail };
    (cause, CauseCount { tasks: wire.tasks, first: wire.first })
}

fn encode_page_ref(page: &PageRef) -> wire::PageRef {
    let all = page.accepted.len() == page.range.len();
    wire::PageRef {
        index: page.index,
        first: page.range.start,
        len: page.range.len(),
        digest: page.digest.to_wire(),
        size_bytes: page.size_bytes,
        accepted: if all { Vec::new() } else { page.accepted.to_wire() },
        failed: page.failed.to_wire(),
        fuel: page.fuel,
        peak_memory_bytes: page.peak_memory_bytes,
        kept: page.kept,
    }
}

fn decode_page_ref(wire: wire::PageRef) -> Result<PageRef, Malformed> {
    let end = wire.first.saturating_add(wire.len);
    let range = TaskRange::try_from(wire::Range { start: wire.first, end })?;
    let accepted = RangeSet::from_wire(&wire.accepted)?;
    Ok(PageRef {
        index: wire.index,
        range,
        digest: Digest::try_from(&wire.digest[..])?,
        size_bytes: wire.size_bytes,
        accepted: if accepted.is_empty() { [range].into_iter().collect() } else { accepted },
        failed: RangeSet::from_wire(&wire.failed)?,
        fuel: wire.fuel,
        peak_memory_bytes: wire.peak_memory_bytes,
        kept: wire.kept,
    })
}

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> wire::Verdict {
        wire::Verdict {
            index: verdict.index,
            range: Some(verdict.range.into()),
            outcome: Some(verdict.outcome.into()),
        }
    }
}

impl TryFrom<wire::Verdict> for Verdict {
    type Error = Malformed;

    fn try_from(wire: wire::Verdict) -> Result<Verdict, Malformed> {
        let range = wire.range.ok_or(Malformed::Missing { what: "a verdict's range" })?;
        let outcome = wire.outcome.ok_or(Malformed::Missing { what: "a verdict's outcome" })?;
        let outcome = Outcome::try_from(outcome)?;
        Ok(Verdict { index: wire.index, range: range.try_into()?, outcome })
    }
}
