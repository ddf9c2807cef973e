//! Bytes of peers are looked at before raft-rs' protobuf library reads them: it follows unknown groups
//! as deep as they go, until the stack ends. prost gives up at a depth of 100.
//!
//! These are the messages within Raft's message, without any field that is none.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct PeerShape {
    #[prost(message, repeated, tag = "7")]
    entries: Vec<Flat>,
    #[prost(message, optional, tag = "9")]
    snapshot: Option<SnapshotShape>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotShape {
    #[prost(message, optional, tag = "2")]
    metadata: Option<MetadataShape>,
}

#[derive(Clone, PartialEq, Message)]
struct MetadataShape {
    #[prost(message, optional, tag = "1")]
    conf_state: Option<Flat>,
}

#[derive(Clone, PartialEq, Message)]
struct Flat {}

/// Whether Raft's message can be read without going too deep.
pub(super) fn is_shallow_message(bytes: &[u8]) -> bool {
    PeerShape::decode(bytes).is_ok()
}

/// The same of a message that has none within.
pub(super) fn is_shallow(bytes: &[u8]) -> bool {
    Flat::decode(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;
    use raft::eraftpb;

    use super::*;

    /// Groups of field 100 within each other.
    fn groups(depth: usize) -> Vec<u8> {
        [[0xa3, 0x06].repeat(depth), [0xa4, 0x06].repeat(depth)].concat()
    }

    /// Bytes as a field that holds a message.
    fn within(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![tag << 3 | 2];
        prost::encode_length_delimiter(bytes.len(), &mut field).expect("room");
        field.extend_from_slice(bytes);
        field
    }

    #[test]
    fn groups_that_go_deep_are_refused_wherever_they_are() {
        let deep = groups(1_000_000);
        assert!(!is_shallow(&deep));
        let metadata = within(1, &deep);
        let snapshot = within(2, &metadata);
        for bytes in [deep.clone(), within(7, &deep), within(9, &deep), within(9, &snapshot)] {
            assert!(!is_shallow_message(&bytes));
        }
    }

    #[test]
    fn what_raft_sends_is_shallow() {
        let mut message = eraftpb::Message { to: 1, term: 7, ..Default::default() };
        message.mut_entries().push(eraftpb::Entry { index: 3, ..Default::default() });
        message.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2, 3]);
        let bytes = message.write_to_bytes().expect("encoded");
        assert!(is_shallow_message(&bytes));
        let shape = PeerShape::decode(&bytes[..]).expect("a message");
        let metadata = shape.snapshot.and_then(|snapshot| snapshot.metadata);
        assert!(metadata.is_some_and(|metadata| metadata.conf_state.is_some()));
        assert_eq!(shape.entries.len(), 1);
    }
}
