//! Bounds that both ends of the wire hold to, and how many blobs go into one message.

/// Most digests, or blobs, in one message.
pub const MAX_DIGESTS: usize = 10_000;
/// Most bytes of a blob in one message of a stream.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
/// Most bytes of blobs in one batch.
pub const MAX_BATCH_BYTES: u64 = 4 << 20;
/// Most bytes of one encoded message: a full batch, and protobuf's own bytes for each blob.
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES as usize + 16 * MAX_DIGESTS;

/// Splits `items` into runs that each fit one batch, in order; an item above the bound is alone.
pub(crate) fn batches<T>(
    items: impl IntoIterator<Item = T>,
    size_bytes: impl Fn(&T) -> u64,
) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut batch_bytes = 0u64;
    for item in items {
        let bytes = size_bytes(&item);
        let full = batch_bytes.saturating_add(bytes) > MAX_BATCH_BYTES;
        if !batch.is_empty() && (full || batch.len() == MAX_DIGESTS) {
            batches.push(std::mem::take(&mut batch));
            batch_bytes = 0;
        }
        batch_bytes = batch_bytes.saturating_add(bytes);
        batch.push(item);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_order_and_hold_to_the_bound() {
        let sizes = [MAX_BATCH_BYTES - 1, 1, 1, MAX_BATCH_BYTES + 5, 0, 7];
        let batches = batches(sizes, |size| *size);
        let expected: Vec<Vec<u64>> =
            vec![vec![MAX_BATCH_BYTES - 1, 1], vec![1], vec![MAX_BATCH_BYTES + 5], vec![0, 7]];
        assert_eq!(batches, expected);
    }

    #[test]
    fn no_batch_has_more_blobs_than_a_message_may() {
        let batches = batches(0..MAX_DIGESTS + 1, |_| 0);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_DIGESTS, 1]);
    }
}
