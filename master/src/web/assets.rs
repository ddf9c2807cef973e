//! Style, script and icon, named after what is in them: a browser keeps them for ever, and a newer
//! version has other names.

use std::sync::LazyLock;

/// A file that pages refer to.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its name with a part of its hash.
    pub(super) name: String,
    pub(super) content_type: &'static str,
    pub(super) content: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("weir.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("weir.js")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("icon.svg")));

/// The asset of this name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    fn new(ending: &str, content_type: &'static str, content: &'static str) -> Asset {
        let hash = blake3::hash(content.as_bytes()).to_hex();
        Asset { name: format!("weir-{}.{ending}", &hash[..12]), content_type, content }
    }

    /// Where a browser finds it.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}
