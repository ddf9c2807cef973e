//! How much memory a large file takes on its way. A binary of its own with one test: the system
//! counts memory for a whole process, so nothing else may run in it.

#![cfg(target_os = "linux")]

use std::{collections::BTreeMap, error::Error, fs, io, sync::Arc};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use weir_proto::{id::Namespace, job::InputSource, wire::store_server::StoreServer};
use weir_store::{
    blobs::BlobStore,
    bounds::MAX_MESSAGE_BYTES,
    cache::CachedStore,
    directory::Produced,
    image::{Image, ImageFile},
    remote::RemoteStore,
    service::StoreService,
    view::ReadAt,
};

const FILE_BYTES: u64 = 100 << 20;
/// Twice what was measured, 20 MB. Client and server are both in this process, each with a few
/// chunks of 1 MiB.
const MOST_BYTES: u64 = 40 << 20;

/// Bytes that are nowhere before they are read.
struct Made;

impl ReadAt for Made {
    fn len(&self) -> u64 {
        FILE_BYTES
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let end = FILE_BYTES.min(offset + buffer.len() as u64);
        for (at, byte) in (offset..end).zip(&mut *buffer) {
            *byte = (at / 1000) as u8;
        }
        Ok(end.saturating_sub(offset) as usize)
    }
}

/// Most memory that this process ever had, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line for it");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_there_and_comes_back_in_bounded_memory() -> Result<(), Box<dyn Error>> {
    let (behind_dir, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let service = StoreService::new(BlobStore::open(behind_dir.path()).await?);
    let service = StoreServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Endpoint::try_from(format!("http://{address}"))?.connect_lazy();
    let local = BlobStore::open(dir.path()).await?;
    let cache = CachedStore::new(local, RemoteStore::new(channel));
    let namespace: Namespace = "a".parse()?;

    let before = peak_bytes();
    let file = Produced::File { bytes: Arc::new(Made), executable: false };
    let root = BTreeMap::from([("file".to_owned(), file)]);
    let (putting, to) = (cache.clone(), namespace.clone());
    // Spawned, as an agent does it: the future can move between threads.
    let put = tokio::spawn(async move { putting.put_tree(&to, root).await });
    let (tree, size_bytes) = put.await??;
    assert_eq!(size_bytes, FILE_BYTES);
    let put = peak_bytes() - before;

    let held = cache.hold(&namespace, InputSource::Tree(tree), FILE_BYTES).await?;
    let Image::Directory(held) = held else { panic!("{held:?}") };
    let Some(Image::File(ImageFile { digest, .. })) = held.get("file") else { panic!("{held:?}") };
    let view = cache.open_view_blocking(&namespace, *digest)?;
    let (mut read, mut made) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for offset in (0..FILE_BYTES).step_by(1 << 20) {
        view.read_at(offset, &mut read)?;
        Made.read_at(offset, &mut made)?;
        assert!(read == made, "the bytes from {offset} on are others");
    }
    let all = peak_bytes() - before;
    assert!(all < MOST_BYTES, "{put} bytes at most to put it, {all} to put and hold it");
    Ok(())
}
