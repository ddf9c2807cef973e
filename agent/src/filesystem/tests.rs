//! The guest's file system against a model, and its special rules one by one.

mod disk;
pub(crate) mod model;
mod output;
mod rules;

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use weir_store::image::{ImageDirectory, ImageFile};

use self::model::Model;
use super::*;

/// The bytes of inputs, by digest.
pub(super) struct Blobs(HashMap<Digest, Bytes>);

impl OpenInput for Blobs {
    fn open(&self, digest: Digest) -> Result<BlobView, DataError> {
        self.0.get(&digest).cloned().map(BlobView::from).ok_or(DataError::NotFound(digest))
    }
}

/// What a file system is made of, as tests put it together.
#[derive(Default)]
struct Setup {
    images: Vec<(String, Image, bool)>,
    blobs: HashMap<Digest, Bytes>,
    limits: Option<(u64, u64)>,
}

impl Setup {
    fn file(&mut self, bytes: &[u8]) -> Image {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest, Bytes::copy_from_slice(bytes));
        Image::File(ImageFile { digest, size_bytes: bytes.len() as u64, executable: false })
    }

    /// An input that is a file.
    fn input(mut self, path: &str, bytes: &[u8], writable: bool) -> Setup {
        let file = self.file(bytes);
        self.images.push((path.to_owned(), file, writable));
        self
    }

    /// An input that is a directory of files.
    fn tree(mut self, path: &str, files: &[(&str, &[u8])], writable: bool) -> Setup {
        let entries = files.iter().map(|(name, bytes)| ((*name).into(), self.file(bytes)));
        let directory = Image::Directory(Arc::new(ImageDirectory::new(entries.collect())));
        self.images.push((path.to_owned(), directory, writable));
        self
    }

    /// Most bytes of `/out` and of `/tmp`.
    fn limits(mut self, out: u64, scratch: u64) -> Setup {
        self.limits = Some((out, scratch));
        self
    }

    fn make(self) -> FileSystem {
        let (out, scratch) = self.limits.unwrap_or((1 << 30, 1 << 30));
        FileSystem::new(&FileSystemSpec {
            layout: Arc::new(Layout::new(self.images)),
            own: None,
            inputs: Arc::new(Blobs(self.blobs)),
            spill_dir: std::env::temp_dir(),
            out_bytes: Some(out),
            scratch_bytes: scratch,
            made_ns: 7,
        })
    }
}

/// What a guest would be told, or that the attempt ends.
fn refusal<T>(result: FsResult<T>) -> Refusal {
    match result {
        Err(FsError::Refused(refusal)) => refusal,
        Err(error) => panic!("the attempt ends: {error}"),
        Ok(_) => panic!("it is allowed"),
    }
}

const CREATE: OpenOptions = OpenOptions {
    follow: true,
    create: true,
    exclusive: false,
    truncate: false,
    directory: false,
    write: true,
};

const READ: OpenOptions = OpenOptions { create: false, write: false, ..CREATE };

impl FileSystem {
    fn opened(&mut self, path: &str, options: OpenOptions) -> FsResult<NodeId> {
        self.open(self.root, path, options)
    }

    /// Makes a file with these bytes and closes it.
    fn put(&mut self, path: &str, bytes: &[u8]) -> FsResult<()> {
        let node = self.opened(path, CREATE)?;
        self.write(node, 0, bytes)?;
        self.release(node);
        Ok(())
    }

    /// All bytes of a file.
    fn all(&mut self, node: NodeId) -> Vec<u8> {
        let mut bytes = vec![1; self.stat(node).size_bytes as usize + 1];
        let read = self.read(node, 0, &mut bytes).expect("it can be read");
        bytes.truncate(read);
        bytes
    }

    fn contents(&mut self, path: &str) -> Vec<u8> {
        let node = self.lookup(self.root, path, true).expect("it is there");
        self.all(node)
    }

    fn names(&mut self, path: &str) -> Vec<String> {
        let node = self.lookup(self.root, path, true).expect("it is there");
        let entries = self.list(node, None).expect("it is a directory");
        entries.map(|entry| entry.name.to_owned()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_does_what_a_model_does(ops in proptest::collection::vec(model::op(), 1..120)) {
        let mut fs = Setup::default().input("/in/f", b"an input", false).make();
        let mut model = Model::new(b"an input", &[]);
        let mut handles = Vec::new();
        for op in &ops {
            let real = op.on_file_system(&mut fs, &mut handles);
            prop_assert_eq!(real, op.on_model(&mut model), "{:?}", op);
            prop_assert_eq!(fs.out.used, model.bytes("/out"));
            prop_assert_eq!(fs.scratch.used, model.bytes("/tmp"));
            prop_assert_eq!(fs.made_nodes, model.made());
        }
        for (id, path) in model.files() {
            prop_assert!(fs.contents(&path[1..]) == model.file(id), "{}", path);
        }
        for op in model.removing_everything(handles.len()) {
            prop_assert_eq!(op.on_file_system(&mut fs, &mut handles), op.on_model(&mut model));
        }
        prop_assert_eq!((fs.out.used, fs.scratch.used, fs.made_nodes), (0, 0, 0));
        prop_assert_eq!(fs.pieces.count(), 0);
        // The root, `/in` and its file, `/tmp` and `/out`; inputs count from when they are met.
        prop_assert!((3..=5).contains(&fs.nodes.len()), "{}", fs.nodes.len());
    }
}
