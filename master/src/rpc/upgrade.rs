//! Which feature level a cluster can be raised to, by what its masters say of their binaries.

use weir_proto::{id::NodeId, wire};

/// The highest level that a master knows, if all others know it too; otherwise who is behind.
///
/// # Errors
/// A sentence about those that do not answer, or know less.
pub(super) fn level_for(members: &[wire::MemberView]) -> Result<u32, String> {
    let is_away = |member: &&wire::MemberView| member.role() == wire::MemberRole::Away;
    let away: Vec<String> = members.iter().filter(is_away).map(called).collect();
    if !away.is_empty() {
        return Err(format!(
            "nobody knows what {} can do: start it, or remove it for good",
            away.join(" and ")
        ));
    }
    let level = members.iter().map(|member| member.feature_level).max().unwrap_or(0);
    let behind = members.iter().filter(|member| member.feature_level < level);
    let behind: Vec<String> = behind
        .map(|member| {
            let (known, version) = (member.feature_level, &member.version);
            format!("{} knows up to {known}, with version {version}", called(member))
        })
        .collect();
    match behind.is_empty() {
        true => Ok(level),
        false => Err(format!(
            "not all masters know feature level {level}: {}; give them the newer binary first",
            behind.join("; ")
        )),
    }
}

fn called(member: &wire::MemberView) -> String {
    format!("{} at {}", NodeId(member.node), member.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, feature_level: u32) -> wire::MemberView {
        wire::MemberView {
            node,
            address: format!("host-{node}:7400"),
            role: wire::MemberRole::Follower.into(),
            version: "0.1.0".to_owned(),
            feature_level,
            ..wire::MemberView::default()
        }
    }

    #[test]
    fn a_level_that_all_know_is_taken() {
        assert_eq!(level_for(&[member(1, 3), member(2, 3)]), Ok(3));
    }

    #[test]
    fn who_knows_less_is_named_with_its_version() {
        let why = level_for(&[member(1, 3), member(2, 1), member(3, 0)]).expect_err("behind");
        assert!(why.contains("feature level 3"), "{why}");
        for behind in ["node-2 at host-2:7400 knows up to 1, with version 0.1.0", "node-3"] {
            assert!(why.contains(behind), "{why}");
        }
        assert!(!why.contains("node-1"), "{why}");
    }

    #[test]
    fn who_does_not_answer_is_not_passed_over() {
        let away = wire::MemberView { role: wire::MemberRole::Away.into(), ..member(2, 0) };
        let why = level_for(&[member(1, 3), away]).expect_err("away");
        assert!(why.contains("nobody knows what node-2 at host-2:7400 can do"), "{why}");
    }
}
