//! `wasi:filesystem/types`, in the order of the WASI documents, over `filesystem`.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream,
    bindings::filesystem::types::{
        self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
        DirectoryEntryStream, ErrorCode, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
    },
};

use super::{
    MAX_TRANSFER_BYTES,
    descriptors::{For, Listing, Opened, descriptor_type},
    errors::{Answer, code, refused, trapped},
    streams::{Input, Output},
};
use crate::{filesystem::FsError, profile::price, sandbox::Guest};

impl types::Host for Guest {
    fn convert_error_code(
        &mut self,
        error: wasmtime_wasi::p2::FsError,
    ) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.meter.charge(price::CALL);
        let error: &wasmtime::Error = self.resources.get(&error)?;
        Ok(error.downcast_ref::<FsError>().and_then(code))
    }
}

impl types::HostDescriptor for Guest {
    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: u64,
    ) -> Answer<Resource<DynInputStream>> {
        self.meter.charge(price::CALL);
        let node = self.file(&file, For::Reading)?;
        self.files.get().hold(node);
        self.resources.push(Input::File(node, offset)).map_err(trapped)
    }

    fn write_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: u64,
    ) -> Answer<Resource<DynOutputStream>> {
        self.meter.charge(price::CALL);
        let node = self.file(&file, For::Writing)?;
        self.files.get().hold(node);
        self.resources.push(Output::File(node, offset)).map_err(trapped)
    }

    fn append_via_stream(
        &mut self,
        file: Resource<Descriptor>,
    ) -> Answer<Resource<DynOutputStream>> {
        self.meter.charge(price::CALL);
        let node = self.file(&file, For::Writing)?;
        self.files.get().hold(node);
        self.resources.push(Output::Append(node)).map_err(trapped)
    }

    async fn advise(
        &mut self,
        file: Resource<Descriptor>,
        offset: u64,
        len: u64,
        _: Advice,
    ) -> Answer<()> {
        self.meter.charge(price::CALL);
        if self.opened(&file)?.is_directory {
            return Err(ErrorCode::BadDescriptor.into());
        }
        offset.checked_add(len).map(|_| ()).ok_or_else(|| ErrorCode::Invalid.into())
    }

    async fn sync_data(&mut self, _: Resource<Descriptor>) -> Answer<()> {
        self.meter.charge(price::CALL);
        Ok(())
    }

    async fn get_flags(&mut self, file: Resource<Descriptor>) -> Answer<DescriptorFlags> {
        self.meter.charge(price::CALL);
        Ok(self.opened(&file)?.flags)
    }

    async fn get_type(&mut self, file: Resource<Descriptor>) -> Answer<DescriptorType> {
        self.meter.charge(price::CALL);
        let node = self.opened(&file)?.node;
        Ok(descriptor_type(self.files.get().stat(node).file_type))
    }

    async fn set_size(&mut self, file: Resource<Descriptor>, size: u64) -> Answer<()> {
        self.meter.charge(price::CALL);
        let Opened { node, is_directory, flags } = self.opened(&file)?;
        // As `ftruncate` has it, and preview 1.
        if is_directory {
            return Err(ErrorCode::BadDescriptor.into());
        }
        if !flags.contains(DescriptorFlags::WRITE) {
            return Err(ErrorCode::Invalid.into());
        }
        self.files.get().set_size(node, size).map_err(refused)
    }

    async fn set_times(
        &mut self,
        file: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Answer<()> {
        self.meter.charge(price::CALL);
        let node = self.opened(&file)?.node;
        self.set_times_of(node, accessed, modified)
    }

    async fn read(
        &mut self,
        file: Resource<Descriptor>,
        len: u64,
        offset: u64,
    ) -> Answer<(Vec<u8>, bool)> {
        self.meter.charge(price::FILE_CALL);
        let node = self.file(&file, For::Reading)?;
        let files = self.files.get();
        let left = files.stat(node).size_bytes.saturating_sub(offset);
        let mut bytes = vec![0; len.min(left).min(MAX_TRANSFER_BYTES as u64) as usize];
        let read = files.read(node, offset, &mut bytes).map_err(refused)?;
        bytes.truncate(read);
        self.meter.charge(price::copied(read));
        Ok((bytes, read as u64 == left))
    }

    async fn write(
        &mut self,
        file: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: u64,
    ) -> Answer<u64> {
        self.meter.charge(price::FILE_CALL + price::copied(bytes.len()));
        let node = self.file(&file, For::Writing)?;
        self.files.get().write(node, offset, &bytes).map_err(refused)?;
        Ok(bytes.len() as u64)
    }

    async fn read_directory(
        &mut self,
        dir: Resource<Descriptor>,
    ) -> Answer<Resource<DirectoryEntryStream>> {
        self.meter.charge(price::CALL);
        let dir = self.directory_of(&dir)?;
        self.files.get().hold(dir);
        self.resources.push(Listing { dir, after: None }).map_err(trapped)
    }

    async fn sync(&mut self, _: Resource<Descriptor>) -> Answer<()> {
        self.meter.charge(price::CALL);
        Ok(())
    }

    async fn create_directory_at(&mut self, dir: Resource<Descriptor>, path: String) -> Answer<()> {
        let dir = self.at(&dir, &path)?;
        self.files.get().create_directory(dir, &path).map_err(refused)
    }

    async fn stat(&mut self, file: Resource<Descriptor>) -> Answer<DescriptorStat> {
        self.meter.charge(price::CALL);
        let node = self.opened(&file)?.node;
        Ok(self.stat_of(node))
    }

    async fn stat_at(
        &mut self,
        dir: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Answer<DescriptorStat> {
        let dir = self.at(&dir, &path)?;
        let node = self.lookup_at(dir, &path, flags)?;
        Ok(self.stat_of(node))
    }

    async fn set_times_at(
        &mut self,
        dir: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Answer<()> {
        let dir = self.at(&dir, &path)?;
        let node = self.lookup_at(dir, &path, flags)?;
        self.set_times_of(node, accessed, modified)
    }

    async fn link_at(
        &mut self,
        old: Resource<Descriptor>,
        flags: PathFlags,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Answer<()> {
        let (old, new) = (self.at(&old, &old_path)?, self.at(&new, &new_path)?);
        let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
        self.files.get().link((old, &old_path), follow, (new, &new_path)).map_err(refused)
    }

    async fn open_at(
        &mut self,
        dir: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Answer<Resource<Descriptor>> {
        let dir = self.at(&dir, &path)?;
        self.open_path(dir, &path, (path_flags, open, flags))
    }

    async fn readlink_at(&mut self, dir: Resource<Descriptor>, path: String) -> Answer<String> {
        let dir = self.at(&dir, &path)?;
        self.files.get().read_link(dir, &path).map(str::to_owned).map_err(refused)
    }

    async fn remove_directory_at(&mut self, dir: Resource<Descriptor>, path: String) -> Answer<()> {
        let dir = self.at(&dir, &path)?;
        self.files.get().remove_directory(dir, &path).map_err(refused)
    }

    async fn rename_at(
        &mut self,
        old: Resource<Descriptor>,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Answer<()> {
        let (old, new) = (self.at(&old, &old_path)?, self.at(&new, &new_path)?);
        self.files.get().rename((old, &old_path), (new, &new_path)).map_err(refused)
    }

    async fn symlink_at(
        &mut self,
        dir: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> Answer<()> {
        self.meter.charge(target.len() as u64 * price::PATH_BYTE);
        let dir = self.at(&dir, &path)?;
        self.files.get().symlink(&target, dir, &path).map_err(refused)
    }

    async fn unlink_file_at(&mut self, dir: Resource<Descriptor>, path: String) -> Answer<()> {
        let dir = self.at(&dir, &path)?;
        self.files.get().unlink(dir, &path).map_err(refused)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.meter.charge(price::CALL);
        let one: &Opened = self.resources.get(&one)?;
        let other: &Opened = self.resources.get(&other)?;
        Ok(one.node == other.node)
    }

    async fn metadata_hash(&mut self, file: Resource<Descriptor>) -> Answer<MetadataHashValue> {
        self.meter.charge(price::CALL);
        let node = self.opened(&file)?.node;
        Ok(self.hash_of(node))
    }

    async fn metadata_hash_at(
        &mut self,
        dir: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Answer<MetadataHashValue> {
        let dir = self.at(&dir, &path)?;
        let node = self.lookup_at(dir, &path, flags)?;
        Ok(self.hash_of(node))
    }

    fn drop(&mut self, file: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        let opened: Opened = self.resources.remove(&file)?;
        self.files.get().release(opened.node);
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for Guest {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> Answer<Option<DirectoryEntry>> {
        self.meter.charge(price::CALL + price::ENTRY);
        let listing: &mut Listing = self.resources.get_mut(&stream).map_err(trapped)?;
        let files = self.files.get();
        let entries = files.list(listing.dir, listing.after.as_deref());
        let next = entries.map_err(refused)?.next().map(|entry| DirectoryEntry {
            type_: descriptor_type(entry.file_type),
            name: entry.name.to_owned(),
        });
        if let Some(entry) = &next {
            listing.after = Some(entry.name.as_str().into());
            self.meter.charge(price::copied(entry.name.len()));
        }
        Ok(next)
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        let listing: Listing = self.resources.remove(&stream)?;
        self.files.get().release(listing.dir);
        Ok(())
    }
}
