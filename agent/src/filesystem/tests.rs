//! What the file system promises, beyond what its parts do.

use super::*;

/// Inputs that nobody opens.
struct NoInputs;

impl OpenInput for NoInputs {
    fn open(&self, digest: Digest) -> Result<BlobView, DataError> {
        Err(DataError::NotFound(digest))
    }
}

fn file_system() -> FileSystem {
    FileSystem::new(&FileSystemSpec {
        layout: Arc::new(Layout::new([])),
        own: None,
        inputs: Arc::new(NoInputs),
        spill_dir: std::env::temp_dir(),
        out_bytes: Some(100),
        scratch_bytes: 100,
        made_ns: 7,
    })
}

#[test]
fn what_is_removed_gives_its_room_back() {
    let mut fs = file_system();
    let (root, create) =
        (fs.root(), OpenOptions { create: true, write: true, ..Default::default() });
    for _ in 0..3 {
        let file = fs.open(root, "out/file", create).expect("room");
        fs.write(file, 0, &[1; 90]).expect("room");
        fs.unlink(root, "out/file").expect("it is there");
        assert_eq!(fs.out.used, 90, "it is open still");
        fs.release(file);
        assert_eq!((fs.out.used, fs.made_nodes), (0, 0));
    }
}
