//! Client and service over a real loopback connection.

use std::{fs, sync::atomic::Ordering::Relaxed};

use tonic::Code;
use weir_proto::job::InputSource;

use super::*;
use crate::{
    bounds::MAX_CHUNK_BYTES,
    directory::{materialize, put_path},
    testing::{Double, Doubled, namespace, new_remote, new_store, noise, serve},
};

/// Sizes around every border: inline or file, one batch or a stream, one chunk or more.
const SIZES: [usize; 8] =
    [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20, (1 << 20) + 1, 4 << 20, (9 << 20) + 7];

#[tokio::test]
async fn a_blob_of_any_size_goes_there_and_comes_back() {
    let (dir, _, remote) = new_remote().await;
    let a = namespace("a");
    for (seed, size) in SIZES.into_iter().enumerate() {
        let bytes = noise(size, seed as u64);
        let digest = remote.put(&a, bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(remote.get(&a, digest).await.unwrap(), bytes);
        let path = dir.path().join(format!("down-{size}"));
        let downloaded = remote.download(&a, digest, &path, size as u64).await.unwrap();
        assert_eq!(downloaded, size as u64);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_file_is_sent_once() {
    let (dir, store) = new_store().await;
    let double = Double::new(store);
    let remote = RemoteStore::new(serve(Doubled(double.clone())).await);
    let path = dir.path().join("file");
    fs::write(&path, noise(5 << 20, 1)).unwrap();
    for _ in 0..2 {
        let put = remote.put_file(&namespace("a"), &path).await.unwrap();
        assert_eq!(put, (Digest::of(&noise(5 << 20, 1)), 5 << 20));
    }
    assert_eq!(double.puts.load(Relaxed), 1);
}

#[tokio::test]
async fn a_file_that_changed_after_its_hashing_is_refused() {
    let (dir, store, remote) = new_remote().await;
    let path = dir.path().join("file");
    fs::write(&path, noise(3 << 20, 1)).unwrap();
    let planned = Digest::of(b"as it was");
    let file = Arc::new(HostFile::open(&path).unwrap());
    let refused = remote.put_stream(&namespace("a"), file, &path, planned).await;
    assert!(matches!(refused, Err(RemoteError::Damaged { .. })));
    assert_eq!(store.find_missing(&namespace("a"), &[planned]).await.unwrap(), [planned]);
}

#[tokio::test]
async fn a_batch_of_any_size_is_split_into_messages() {
    let (_dir, _, remote) = new_remote().await;
    let a = namespace("a");
    let mut blobs: Vec<Bytes> = (0..12_000).map(|seed| noise(10, seed)).collect();
    blobs.extend([noise(3 << 20, 1), noise(3 << 20, 2), noise(5 << 20, 3), noise(0, 4)]);
    let digests = remote.put_batch(&a, blobs.clone()).await.unwrap();
    assert_eq!(digests, blobs.iter().map(|blob| Digest::of(blob)).collect::<Vec<_>>());
    assert_eq!(remote.find_missing(&a, &digests).await.unwrap(), []);
    assert_eq!(remote.find_missing(&namespace("b"), &digests).await.unwrap(), digests);
    assert_eq!(remote.get_batch(&a, &digests[..100]).await.unwrap(), blobs[..100]);
}

#[tokio::test]
async fn what_the_namespace_lacks_is_not_found() {
    let (dir, _, remote) = new_remote().await;
    let digest = remote.put(&namespace("a"), noise(10, 1)).await.unwrap();
    let b = namespace("b");
    let not_found = |error| matches!(error, RemoteError::NotFound { .. });
    assert!(not_found(remote.get(&b, digest).await.unwrap_err()));
    assert!(not_found(remote.get_batch(&b, &[digest]).await.unwrap_err()));
    let path = dir.path().join("stolen");
    assert!(not_found(remote.download(&b, digest, &path, u64::MAX).await.unwrap_err()));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_lying_store_is_found_out() {
    let (dir, store) = new_store().await;
    let double = Double::new(store);
    let remote = RemoteStore::new(serve(Doubled(double.clone())).await);
    double.lies.store(true, Relaxed);
    let a = namespace("a");
    for size in [10, 3 << 20] {
        let digest = remote.put(&a, noise(size, 1)).await.unwrap();
        let corrupt = |error: RemoteError| matches!(error, RemoteError::Corrupt { expected, .. } if expected == digest);
        assert!(corrupt(remote.get(&a, digest).await.unwrap_err()));
        assert!(corrupt(remote.get_batch(&a, &[digest]).await.unwrap_err()));
        let path = dir.path().join("copy");
        assert!(corrupt(remote.download(&a, digest, &path, u64::MAX).await.unwrap_err()));
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_download_stops_at_its_bound_and_overwrites_nothing() {
    let (dir, _, remote) = new_remote().await;
    let a = namespace("a");
    let digest = remote.put(&a, noise(3 << 20, 1)).await.unwrap();
    let path = dir.path().join("copy");
    let refused = remote.download(&a, digest, &path, (3 << 20) - 1).await.unwrap_err();
    assert!(matches!(refused, RemoteError::TooLarge { .. }));
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    let refused = remote.download(&a, digest, &path, u64::MAX).await.unwrap_err();
    assert!(matches!(refused, RemoteError::Exists { .. }));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let remote = RemoteStore::new(channel);
    let digest = Digest::of(b"x");
    let failed = remote.get(&namespace("a"), digest).await.unwrap_err();
    assert!(matches!(failed, RemoteError::Unreachable { .. }));
    let failed = remote.put(&namespace("a"), noise(9 << 20, 1)).await.unwrap_err();
    assert!(matches!(failed, RemoteError::Unreachable { .. }), "{failed:?}");
}

#[tokio::test]
async fn directories_go_there_and_back() {
    let (dir, _, remote) = new_remote().await;
    let a = namespace("a");
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("sub/empty")).unwrap();
    fs::write(source.join("small"), "hello").unwrap();
    fs::write(source.join("sub/large"), noise(3 << 20, 1)).unwrap();
    let put = put_path(&remote, &a, &source).await.unwrap();
    let to = dir.path().join("to");
    let written = materialize(&remote, &a, put.root, &to, put.size_bytes).await.unwrap();
    assert_eq!(written, 5 + (3 << 20));
    assert!(to.join("sub/empty").is_dir());
    assert_eq!(fs::read(to.join("sub/large")).unwrap(), noise(3 << 20, 1));
    assert!(matches!(put.root, InputSource::Tree(_)));
}

#[tokio::test]
async fn messages_above_the_bounds_are_refused() {
    let (_dir, store) = new_store().await;
    let channel = serve(crate::service::StoreService::new(store)).await;
    let mut client = StoreClient::new(channel).max_encoding_message_size(64 << 20);
    let namespace = || "a".to_owned();

    let digests = vec![vec![1; 32]; MAX_DIGESTS + 1];
    let request = wire::FindMissingRequest { namespace: namespace(), digests: digests.clone() };
    assert_eq!(client.find_missing(request).await.unwrap_err().code(), Code::InvalidArgument);
    let request = wire::GetBatchRequest { namespace: namespace(), digests };
    assert_eq!(client.get_batch(request).await.unwrap_err().code(), Code::InvalidArgument);

    let data = vec![0; MAX_CHUNK_BYTES + 1];
    let message = wire::PutRequest { namespace: namespace(), digest: Vec::new(), data };
    let put = client.put(tokio_stream::once(message)).await;
    assert_eq!(put.unwrap_err().code(), Code::InvalidArgument);

    let blobs = vec![vec![0; 1 << 20]; 5];
    let request = wire::PutBatchRequest { namespace: namespace(), blobs };
    let refused = client.put_batch(request).await.unwrap_err().code();
    assert!(matches!(refused, Code::OutOfRange | Code::InvalidArgument), "{refused:?}");
    let mut blobs = vec![vec![0; 1 << 20]; 4];
    blobs.push(vec![0]);
    let request = wire::PutBatchRequest { namespace: namespace(), blobs };
    assert_eq!(client.put_batch(request).await.unwrap_err().code(), Code::InvalidArgument);

    let blobs = vec![vec![7; 3 << 20]];
    let request = wire::PutBatchRequest { namespace: namespace(), blobs };
    let digest = client.put_batch(request).await.unwrap().into_inner().digests.remove(0);
    let request =
        wire::GetBatchRequest { namespace: namespace(), digests: vec![digest.clone(), digest] };
    assert_eq!(client.get_batch(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn malformed_messages_are_refused() {
    let (_dir, store) = new_store().await;
    let mut client = StoreClient::new(serve(crate::service::StoreService::new(store)).await);
    let first = |namespace: &str, digest: &[u8]| wire::PutRequest {
        namespace: namespace.to_owned(),
        digest: digest.to_vec(),
        data: vec![1],
    };
    let puts = [
        vec![],
        vec![first("", b"")],
        vec![first("../etc", b"")],
        vec![first("a", b"short")],
        vec![first("a", b""), first("b", b"")],
        vec![first("a", b""), first("", &[1; 32])],
    ];
    for put in puts {
        let refused = client.put(tokio_stream::iter(put)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let wrong = client.put(tokio_stream::once(first("a", &[1; 32]))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::DataLoss);
    let named = client.put(tokio_stream::once(first("a", b""))).await.unwrap().into_inner();
    assert_eq!(named.digest, Digest::of(&[1]).0);
    assert_eq!(named.size_bytes, 1);
}

#[tokio::test]
async fn a_namespaces_blobs_are_listed_a_page_at_a_time_and_counted() {
    let (_dir, _, remote) = new_remote().await;
    let (a, b) = (namespace("a"), namespace("b"));
    let blobs: Vec<Bytes> = (0..25).map(|seed| noise(10 + seed, seed as u64)).collect();
    let mut digests = remote.put_batch(&a, blobs).await.unwrap();
    remote.put(&b, noise(100_000, 99)).await.unwrap();
    digests.sort_unstable();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = remote.list(&a, after, 10).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), digests);
    let stat = remote.stat(&a).await.unwrap();
    let bytes: u64 = listed.iter().map(|(_, size)| size).sum();
    assert_eq!((stat.blobs, stat.bytes), (25, bytes));
    assert!(stat.disk.is_some_and(|(free, total)| free <= total && total > 0));
    assert_eq!(remote.stat(&namespace("c")).await.unwrap().blobs, 0);
}
