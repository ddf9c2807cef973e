//! Where inputs are in the guest's file system: put together once for all tasks of a lease, and made
//! the root of each attempt's own.

use std::{collections::BTreeMap, sync::Arc};

use weir_store::image::{Image, ImageDirectory};

use super::{
    Area, FileSystem, FileSystemSpec, Moved, Quota,
    node::{NodeId, Nodes, Times},
    pieces::Pieces,
};

/// The inputs of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// What no task may change, and the directories that lead to the rest.
    fixed: Arc<ImageDirectory>,
    /// What each task may change, and the names that lead there; none at all lead to the root.
    writable: Vec<(Vec<Box<str>>, Image)>,
}

/// A directory while inputs are put into it.
#[derive(Default)]
struct Growing {
    entries: BTreeMap<Box<str>, Growing>,
    image: Option<Image>,
}

impl Layout {
    /// Puts inputs together: where each is, what it is, whether tasks may change it. Paths are
    /// absolute, without `..`, and none is beneath another, as specs are checked where they come in.
    pub(crate) fn new(inputs: impl IntoIterator<Item = (String, Image, bool)>) -> Layout {
        let mut root = Growing::default();
        let mut writable = Vec::new();
        for (path, image, may_change) in inputs {
            let names: Vec<Box<str>> =
                path.split('/').filter(|name| !name.is_empty()).map(Box::from).collect();
            if may_change {
                if let Some((_, parents)) = names.split_last() {
                    root.at(parents);
                }
                writable.push((names, image));
            } else {
                root.at(&names).image = Some(image);
            }
        }
        let fixed = match root.finish() {
            Image::Directory(directory) => directory,
            Image::File(file) => {
                unreachable!("a file ({}) is never at `/`: specs are checked", file.digest)
            }
        };
        Layout { fixed, writable }
    }
}

impl Growing {
    /// The directory that some names lead to.
    fn at(&mut self, names: &[Box<str>]) -> &mut Growing {
        names.iter().fold(self, |dir, name| dir.entries.entry(name.clone()).or_default())
    }

    fn finish(self) -> Image {
        if let Some(image) = self.image {
            return image;
        }
        let entries = self.entries.into_iter().map(|(name, dir)| (name, dir.finish()));
        Image::Directory(Arc::new(ImageDirectory::new(entries.collect())))
    }
}

impl FileSystem {
    /// Makes the file system of one attempt: what is in the layout, `/tmp`, and `/out` where it is
    /// asked for.
    pub(crate) fn new(spec: &FileSystemSpec) -> FileSystem {
        let times = Times { accessed_ns: spec.made_ns, modified_ns: spec.made_ns };
        let mut nodes = Nodes::new(times);
        let whole = spec.layout.writable.iter().find(|(names, _)| names.is_empty());
        let root = match whole {
            Some((_, Image::Directory(image))) => {
                nodes.add_directory(Area::Scratch, None, Some(image.clone()))
            }
            _ => nodes.add_directory(Area::Fixed, None, Some(spec.layout.fixed.clone())),
        };
        // Nothing leads to the root, and it is never removed.
        nodes.get_mut(root).links = 1;
        for (names, image) in &spec.layout.writable {
            let Some((name, parents)) = names.split_last() else { continue };
            let parent = parents.iter().try_fold(root, |dir, name| nodes.entry(dir, name));
            let parent = parent.expect("the layout has all directories that lead to inputs");
            let node = nodes.add_image(Area::Scratch, parent, image);
            nodes.link(parent, name, node);
        }
        if let Some((dir, name, image)) = &spec.own {
            let dir = add_directory(&mut nodes, root, dir, Area::Fixed);
            let node = nodes.add_image(Area::Fixed, dir, image);
            nodes.link(dir, name, node);
        }
        add_directory(&mut nodes, root, "tmp", Area::Scratch);
        let out_dir = spec.out_bytes.map(|_| add_directory(&mut nodes, root, "out", Area::Out));
        FileSystem {
            nodes,
            pieces: Pieces::new(spec.spill_dir.clone()),
            inputs: spec.inputs.clone(),
            root,
            out_dir,
            out: Quota { used: 0, limit: spec.out_bytes.unwrap_or(0) },
            scratch: Quota { used: 0, limit: spec.scratch_bytes },
            made_nodes: 0,
            steps: 0,
            moved: Moved::default(),
        }
    }
}

fn add_directory(nodes: &mut Nodes, root: NodeId, name: &str, area: Area) -> NodeId {
    let dir = nodes.add_directory(area, Some(root), None);
    nodes.link(root, name, dir);
    dir
}
