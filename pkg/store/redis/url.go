// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/tlsconf"
)

// Target is a parsed URL. It prints without password.
type Target struct {
	scheme  string
	addrs   []string // host:port, or the path of a unix socket
	db      int
	cluster bool
	master  string // of Sentinel
	user    string

	password         secret.Value
	passwordFile     string
	sentinelUser     string
	sentinelPassword secret.Value

	useTLS bool
	tls    tlsconf.ClientConfig
}

// Schemes are the schemes of the URLs that [ParseURL] takes.
func Schemes() []string {
	return []string{"redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
}

// ParseURL reads the URL of a Redis. The forms are
//
//	redis://[user[:password]@]host[:6379][/db]
//	redis+unix://[user[:password]@]/path/of/socket[?db=0]
//	redis+sentinel://[user[:password]@]host[:26379][/db]?master=name[&addr=host:port…]
//	redis+cluster://[user[:password]@]host[:6379][?addr=host:port…]
//
// with rediss in the place of redis for TLS (not for a unix socket). addr names further sentinels or
// nodes and may come several times. Further parameters: password_file names a file with the password,
// which is read at each connection, so that it can change; sentinel_user and sentinel_password_file
// are those of the sentinels; tls_ca, tls_cert, tls_key name files in PEM, tls_server_name the name
// to look for in the server's certificate. Characters such as / ? # @ in a password must be written
// as %2F and so on. Errors are InvalidArgument and do not repeat the URL, for it may hold a password.
func ParseURL(raw string) (*Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument,
			"store: the URL cannot be parsed: expected redis://host:6379/0, with / ? # @ and %% in a password written as %%2F and so on")
	}
	base, mode, _ := strings.Cut(u.Scheme, "+")
	if !slices.Contains(Schemes(), u.Scheme) {
		return nil, errdefs.New(errdefs.InvalidArgument, "store: scheme %q: expected one of %s", u.Scheme, strings.Join(Schemes(), ", "))
	}
	t := &Target{scheme: u.Scheme, user: u.User.Username(), useTLS: base == "rediss", cluster: mode == "cluster"}
	if password, ok := u.User.Password(); ok {
		t.password = secret.FromString(password)
	}
	db := strings.Trim(u.Path, "/")
	if mode == "unix" {
		t.addrs, db = []string{filepath.Clean(u.Path)}, ""
		if u.Host != "" || u.Path == "" {
			return nil, t.wrong("expected redis+unix:///path/of/socket")
		}
	} else {
		if err := t.addHost(u.Host, mode); err != nil {
			return nil, err
		}
	}
	if u.Fragment != "" {
		return nil, t.wrong("nothing may follow a # (in a password it is written %23)")
	}
	if db, err = t.parameters(u.Query(), mode, db); err != nil {
		return nil, err
	}
	if db != "" {
		if t.db, err = strconv.Atoi(db); err != nil || t.db < 0 || t.cluster && t.db != 0 {
			return nil, t.wrong("database %q: expected a number from 0 on, and 0 in a cluster", db)
		}
	}
	return t, nil
}

// parameters reads the query and returns the database, which may be there too.
func (t *Target) parameters(query url.Values, mode, db string) (string, error) {
	var sentinelPasswordFile string
	single := map[string]*string{
		"password_file": &t.passwordFile,
		"tls_ca":        &t.tls.CAFile, "tls_cert": &t.tls.CertFile, "tls_key": &t.tls.KeyFile, "tls_server_name": &t.tls.ServerName,
	}
	switch mode {
	case "sentinel":
		single["master"], single["sentinel_user"], single["sentinel_password_file"] = &t.master, &t.sentinelUser, &sentinelPasswordFile
	case "unix":
		single["db"] = &db
	}
	for name, values := range query {
		if name == "addr" && (mode == "sentinel" || mode == "cluster") {
			for _, value := range values {
				if err := t.addHost(value, mode); err != nil {
					return "", err
				}
			}
			continue
		}
		into, known := single[name]
		if !known {
			return "", t.wrong("parameter %q: unknown for this scheme", name)
		}
		if len(values) != 1 || values[0] == "" {
			return "", t.wrong("parameter %q: expected one value", name)
		}
		*into = values[0]
	}
	switch {
	case mode == "sentinel" && t.master == "":
		return "", t.wrong("parameter \"master\" is missing: the name by which the sentinels know the server")
	case !t.useTLS && t.tls != (tlsconf.ClientConfig{}):
		return "", t.wrong("parameters tls_… need a scheme with TLS (rediss)")
	case t.passwordFile != "" && !t.password.IsZero():
		return "", t.wrong("the password is in the URL and in a file: leave one out")
	}
	if sentinelPasswordFile != "" {
		var err error
		if t.sentinelPassword, err = secret.ReadFile(sentinelPasswordFile); err != nil {
			return "", errdefs.Wrap(errdefs.InvalidArgument, err, "store %s", t)
		}
	}
	return db, nil
}

func (t *Target) addHost(hostport, mode string) error {
	host, port := hostport, "6379"
	if mode == "sentinel" {
		port = "26379"
	}
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		host, port = h, p
	} else {
		host = strings.Trim(host, "[]")
	}
	if n, err := strconv.Atoi(port); host == "" || err != nil || n < 1 || n > 65535 || strings.Contains(host, "@") {
		return t.wrong("an address is not host:port")
	}
	t.addrs = append(t.addrs, net.JoinHostPort(host, port))
	return nil
}

func (t *Target) wrong(format string, args ...any) error {
	return errdefs.New(errdefs.InvalidArgument, "store "+t.scheme+"://…: "+format, args...)
}

// String returns scheme and addresses, without user and password.
func (t *Target) String() string { return t.scheme + "://" + strings.Join(t.addrs, ",") }

// credentials returns user and password for a new connection.
func (t *Target) credentials(context.Context) (user, password string, err error) {
	if t.passwordFile == "" {
		return t.user, t.password.RevealString(), nil
	}
	v, err := secret.ReadFile(t.passwordFile)
	if err != nil {
		return "", "", beforeError{err}
	}
	return t.user, v.RevealString(), nil
}
