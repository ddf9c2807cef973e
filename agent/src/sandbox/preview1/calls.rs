//! Every function of preview 1, in the order of the WASI documents: short ones whole, the others by
//! what they are in `files`, `paths` and `poll`.

use wasmtime_wasi::p1::{
    types::{
        self, Advice, Ciovec, Clockid, Dircookie, Errno, Event, Exitcode, Fd, Fdflags, Fdstat,
        Filedelta, Filesize, Filestat, Fstflags, Lookupflags, Oflags, Prestat, PrestatDir, Riflags,
        Rights, Roflags, Sdflags, Siflags, Signal, Size, Subscription, Timestamp, Whence,
    },
    wasi_snapshot_preview1::WasiSnapshotPreview1,
};
use wiggle::{GuestMemory, GuestPtr};

use super::{
    descriptors::Descriptor,
    errno::{Answer, refused},
    files::{At, filestat},
};
use crate::{
    profile::{CLOCK_RESOLUTION_NS, price},
    sandbox::{Guest, clock::cpu_ns},
};

/// What the root is called among the directories that are open from the start.
const ROOT: &str = "/";

impl WasiSnapshotPreview1 for Guest {
    fn args_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        argv: GuestPtr<GuestPtr<u8>>,
        bytes: GuestPtr<u8>,
    ) -> Answer<()> {
        self.meter.charge(price::copied(self.args.iter().map(String::len).sum()));
        let args = self.args.iter().map(|arg| [arg.as_bytes(), b"\0"]);
        write_strings(memory, argv, bytes, args)
    }

    fn args_sizes_get(&mut self, _: &mut GuestMemory<'_>) -> Answer<(Size, Size)> {
        let bytes: usize = self.args.iter().map(|arg| arg.len() + 1).sum();
        Ok((self.args.len() as Size, bytes as Size))
    }

    fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        environ: GuestPtr<GuestPtr<u8>>,
        bytes: GuestPtr<u8>,
    ) -> Answer<()> {
        let size = self.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        self.meter.charge(price::copied(size));
        let env = self.env.iter();
        let env = env.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"]);
        write_strings(memory, environ, bytes, env)
    }

    fn environ_sizes_get(&mut self, _: &mut GuestMemory<'_>) -> Answer<(Size, Size)> {
        let bytes: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        Ok((self.env.len() as Size, bytes as Size))
    }

    fn clock_res_get(&mut self, _: &mut GuestMemory<'_>, _: Clockid) -> Answer<Timestamp> {
        Ok(CLOCK_RESOLUTION_NS)
    }

    fn clock_time_get(
        &mut self,
        _: &mut GuestMemory<'_>,
        clock: Clockid,
        _: Timestamp,
    ) -> Answer<Timestamp> {
        let fuel = self.fuel_used();
        Ok(match clock {
            Clockid::Realtime => self.clock.realtime_ns(fuel),
            Clockid::Monotonic => self.clock.monotonic_ns(fuel),
            Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => cpu_ns(fuel),
        })
    }

    async fn fd_advise(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        offset: Filesize,
        len: Filesize,
        advice: Advice,
    ) -> Answer<()> {
        self.advise(fd, offset, len, advice)
    }

    fn fd_allocate(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        offset: Filesize,
        len: Filesize,
    ) -> Answer<()> {
        self.allocate(fd, offset, len)
    }

    async fn fd_close(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<()> {
        let closed = self.descriptors.remove(fd)?;
        self.close(closed);
        Ok(())
    }

    async fn fd_datasync(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<()> {
        self.node(fd).map(|_| ())
    }

    async fn fd_fdstat_get(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<Fdstat> {
        self.fdstat(fd)
    }

    fn fd_fdstat_set_flags(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        flags: Fdflags,
    ) -> Answer<()> {
        self.set_flags(fd, flags)
    }

    /// Rights mean nothing any more: all stay as they are.
    fn fd_fdstat_set_rights(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        _: Rights,
        _: Rights,
    ) -> Answer<()> {
        self.descriptors.get(fd).map(|_| ())
    }

    async fn fd_filestat_get(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<Filestat> {
        self.filestat(fd)
    }

    async fn fd_filestat_set_size(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        size: Filesize,
    ) -> Answer<()> {
        self.set_size(fd, size)
    }

    async fn fd_filestat_set_times(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        atim: Timestamp,
        mtim: Timestamp,
        flags: Fstflags,
    ) -> Answer<()> {
        let node = self.node(fd)?;
        let (accessed, modified) = self.new_times(atim, mtim, flags)?;
        self.files.get().set_times(node, accessed, modified).map_err(refused)
    }

    async fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        iovs: types::IovecArray,
        offset: Filesize,
    ) -> Answer<Size> {
        self.read(memory, fd, iovs, At::Offset(offset))
    }

    fn fd_prestat_get(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<Prestat> {
        match self.descriptors.get(fd)? {
            Descriptor::Root => Ok(Prestat::Dir(PrestatDir { pr_name_len: ROOT.len() as Size })),
            _ => Err(Errno::Badf.into()),
        }
    }

    fn fd_prestat_dir_name(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<u8>,
        path_len: Size,
    ) -> Answer<()> {
        match self.descriptors.get(fd)? {
            Descriptor::Root if (path_len as usize) < ROOT.len() => Err(Errno::Nametoolong.into()),
            Descriptor::Root => {
                memory.copy_from_slice(ROOT.as_bytes(), path.as_array(ROOT.len() as u32))?;
                Ok(())
            }
            _ => Err(Errno::Notdir.into()),
        }
    }

    async fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        iovs: types::CiovecArray,
        offset: Filesize,
    ) -> Answer<Size> {
        self.write(memory, fd, iovs, At::Offset(offset))
    }

    async fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        iovs: types::IovecArray,
    ) -> Answer<Size> {
        self.read(memory, fd, iovs, At::Position)
    }

    async fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffer: GuestPtr<u8>,
        len: Size,
        cookie: Dircookie,
    ) -> Answer<Size> {
        self.readdir(memory, fd, buffer, len, cookie)
    }

    async fn fd_renumber(&mut self, _: &mut GuestMemory<'_>, fd: Fd, to: Fd) -> Answer<()> {
        if let Some(replaced) = self.descriptors.renumber(fd, to)? {
            self.close(replaced);
        }
        Ok(())
    }

    async fn fd_seek(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        offset: Filedelta,
        whence: Whence,
    ) -> Answer<Filesize> {
        self.seek(fd, offset, whence)
    }

    async fn fd_sync(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<()> {
        self.node(fd).map(|_| ())
    }

    fn fd_tell(&mut self, _: &mut GuestMemory<'_>, fd: Fd) -> Answer<Filesize> {
        self.tell(fd)
    }

    async fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        iovs: types::CiovecArray,
    ) -> Answer<Size> {
        self.write(memory, fd, iovs, At::Position)
    }

    async fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let (dir, path) = (self.directory(fd)?, self.path(memory, path)?);
        self.files.get().create_directory(dir, &path).map_err(refused)
    }

    async fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
    ) -> Answer<Filestat> {
        let path = self.path(memory, path)?;
        let node = self.lookup(fd, flags, &path)?;
        Ok(filestat(&self.files.get().stat(node)))
    }

    async fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
        atim: Timestamp,
        mtim: Timestamp,
        which: Fstflags,
    ) -> Answer<()> {
        let path = self.path(memory, path)?;
        let node = self.lookup(fd, flags, &path)?;
        let (accessed, modified) = self.new_times(atim, mtim, which)?;
        self.files.get().set_times(node, accessed, modified).map_err(refused)
    }

    async fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old: Fd,
        flags: Lookupflags,
        old_path: GuestPtr<str>,
        new: Fd,
        new_path: GuestPtr<str>,
    ) -> Answer<()> {
        let (old, new) = (self.directory(old)?, self.directory(new)?);
        let (old_path, new_path) = (self.path(memory, old_path)?, self.path(memory, new_path)?);
        let follow = flags.contains(Lookupflags::SYMLINK_FOLLOW);
        let linked = self.files.get().link((old, &old_path), follow, (new, &new_path));
        linked.map_err(refused)
    }

    async fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        lookup: Lookupflags,
        path: GuestPtr<str>,
        open: Oflags,
        rights: Rights,
        _: Rights,
        flags: Fdflags,
    ) -> Answer<Fd> {
        let path = self.path(memory, path)?;
        self.open(fd, &path, (lookup, open, flags), rights)
    }

    async fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
        buffer: GuestPtr<u8>,
        len: Size,
    ) -> Answer<Size> {
        let (dir, path) = (self.directory(fd)?, self.path(memory, path)?);
        let target = self.files.get().read_link(dir, &path).map_err(refused)?.as_bytes();
        let target = &target[..target.len().min(len as usize)];
        memory.copy_from_slice(target, buffer.as_array(target.len() as u32))?;
        Ok(target.len() as Size)
    }

    async fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let (dir, path) = (self.directory(fd)?, self.path(memory, path)?);
        self.files.get().remove_directory(dir, &path).map_err(refused)
    }

    async fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old: Fd,
        old_path: GuestPtr<str>,
        new: Fd,
        new_path: GuestPtr<str>,
    ) -> Answer<()> {
        let (old, new) = (self.directory(old)?, self.directory(new)?);
        let (old_path, new_path) = (self.path(memory, old_path)?, self.path(memory, new_path)?);
        self.files.get().rename((old, &old_path), (new, &new_path)).map_err(refused)
    }

    async fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        target: GuestPtr<str>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let (target, path) = (self.path(memory, target)?, self.path(memory, path)?);
        let dir = self.directory(fd)?;
        self.files.get().symlink(&target, dir, &path).map_err(refused)
    }

    async fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let (dir, path) = (self.directory(fd)?, self.path(memory, path)?);
        self.files.get().unlink(dir, &path).map_err(refused)
    }

    async fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: GuestPtr<Subscription>,
        events: GuestPtr<Event>,
        count: Size,
    ) -> Answer<Size> {
        self.poll(memory, subscriptions, events, count).await
    }

    /// Never linked: `preview1` has its own.
    fn proc_exit(&mut self, _: &mut GuestMemory<'_>, code: Exitcode) -> wiggle::error::Error {
        wasmtime_wasi::I32Exit(code as i32).into()
    }

    fn proc_raise(&mut self, _: &mut GuestMemory<'_>, _: Signal) -> Answer<()> {
        Err(Errno::Notsup.into())
    }

    fn sched_yield(&mut self, _: &mut GuestMemory<'_>) -> Answer<()> {
        Ok(())
    }

    /// Never linked: `preview1` has its own.
    fn random_get(&mut self, _: &mut GuestMemory<'_>, _: GuestPtr<u8>, _: Size) -> Answer<()> {
        Err(Errno::Notsup.into())
    }

    fn sock_accept(&mut self, _: &mut GuestMemory<'_>, fd: Fd, _: Fdflags) -> Answer<Fd> {
        self.no_socket(fd)
    }

    fn sock_recv(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        _: types::IovecArray,
        _: Riflags,
    ) -> Answer<(Size, Roflags)> {
        self.no_socket(fd)
    }

    fn sock_send(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: Fd,
        _: GuestPtr<[Ciovec]>,
        _: Siflags,
    ) -> Answer<Size> {
        self.no_socket(fd)
    }

    fn sock_shutdown(&mut self, _: &mut GuestMemory<'_>, fd: Fd, _: Sdflags) -> Answer<()> {
        self.no_socket(fd)
    }
}

impl Guest {
    fn no_socket<T>(&self, fd: Fd) -> Answer<T> {
        self.descriptors.get(fd)?;
        Err(Errno::Notsock.into())
    }
}

/// Writes strings one behind the other to `bytes`, and where each begins to `starts`.
fn write_strings<'a, const PARTS: usize>(
    memory: &mut GuestMemory<'_>,
    mut starts: GuestPtr<GuestPtr<u8>>,
    mut bytes: GuestPtr<u8>,
    strings: impl Iterator<Item = [&'a [u8]; PARTS]>,
) -> Answer<()> {
    for string in strings {
        memory.write(starts, bytes)?;
        starts = starts.add(1)?;
        for part in string {
            memory.copy_from_slice(part, bytes.as_array(part.len() as u32))?;
            bytes = bytes.add(part.len() as u32)?;
        }
    }
    Ok(())
}
