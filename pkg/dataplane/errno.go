// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"syscall"
)

// strerror returns the text which the C library has for an errno: SPDK's answers carry it.
func strerror(errno syscall.Errno) string {
	switch errno {
	case syscall.EPERM:
		return "Operation not permitted"
	case syscall.ENOENT:
		return "No such file or directory"
	case syscall.EIO:
		return "Input/output error"
	case syscall.ENXIO:
		return "No such device or address"
	case syscall.EAGAIN:
		return "Resource temporarily unavailable"
	case syscall.ENOMEM:
		return "Cannot allocate memory"
	case syscall.EACCES:
		return "Permission denied"
	case syscall.EBUSY:
		return "Device or resource busy"
	case syscall.EEXIST:
		return "File exists"
	case syscall.ENODEV:
		return "No such device"
	case syscall.ENOTDIR:
		return "Not a directory"
	case syscall.EISDIR:
		return "Is a directory"
	case syscall.EINVAL:
		return "Invalid argument"
	case syscall.EFBIG:
		return "File too large"
	case syscall.ENOSPC:
		return "No space left on device"
	case syscall.EROFS:
		return "Read-only file system"
	case syscall.ERANGE:
		return "Numerical result out of range"
	case syscall.ENAMETOOLONG:
		return "File name too long"
	case syscall.ELOOP:
		return "Too many levels of symbolic links"
	case syscall.EOPNOTSUPP:
		return "Operation not supported"
	case syscall.ETIMEDOUT:
		return "Connection timed out"
	case syscall.EALREADY:
		return "Operation already in progress"
	case syscall.ENOKEY:
		return "Required key not available"
	default:
		return errno.Error()
	}
}

// errnoOf returns the errno in the chain of err, or EIO when there is none: something failed that
// has no number of its own.
func errnoOf(err error) syscall.Errno {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return syscall.EIO
}
