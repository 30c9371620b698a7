// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// Bounds of the time that a store may take: each step of a call, which may be large, and all of it.
const (
	moveStep  = 30 * time.Second
	moveLimit = 5 * time.Minute
)

// exitFindings is the exit code of verify when it has found something wrong.
const exitFindings = 3

// errFindings is what verify returns then.
var errFindings = errors.New("the store is not as it should be")

// place is which store a command is about.
type place struct{ settings }

func storeCommand(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Back up, move and check what a bridge keeps",
		Long: `Back up, move and check what a bridge keeps, in Redis or in a file.

Secrets stay sealed all the way: to use them, the bridge needs the same --secret-key-file as before.
--store and --instance can also be set by OPI_BRIDGE_STORE and OPI_BRIDGE_INSTANCE.

Exit codes: 0 done, 1 not done, 3 verify has found something wrong.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(exportCommand(env), importCommand(env), verifyCommand(env))
	return cmd
}

// define adds the flags that all of these commands have.
func (p *place) define(cmd *cobra.Command, env func(string) (string, bool)) {
	f := cmd.Flags()
	f.StringVar(&p.store, "store", "", "the store: redis://host:port/db or bolt:///path, in all forms that serve takes")
	f.StringVar(&p.instance, "instance", "default", "name of the bridge whose store it is; a file has one")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		return fromEnvironment(cmd.Flags(), env, map[string]bool{})
	}
	cmd.Args = cobra.NoArgs
}

func exportCommand(env func(string) (string, bool)) *cobra.Command {
	var p place
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write everything a store holds to a file",
		Long: `Write everything a store holds, as of one moment, as lines of JSON with a checksum at the end. Equal
stores give equal exports. A bridge on Redis may go on meanwhile; a file can be exported while no
bridge has it. The store is not changed.`,
		Example: `  opi-bridge store export --store redis://127.0.0.1:6379/0 --instance dpu-1 --output dpu-1.export`,
	}
	p.define(cmd, env)
	cmd.Flags().StringVar(&output, "output", "-", "the file to write, which appears when all is in it; - for standard output")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, err := p.dump(cmd.Context())
		if err != nil {
			return err
		}
		if output == "-" {
			return m.Write(cmd.OutOrStdout())
		}
		if err := writeFile(output, m.Write); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "exported %d resources to %s\n", len(m.Documents), output)
		return err
	}
	return cmd
}

func importCommand(env func(string) (string, bool)) *cobra.Command {
	var p place
	var input string
	var replace bool
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Put an export into a store",
		Long: `Put an export into a store, all of it or nothing: an import that is interrupted leaves the store as it
was. The export is checked first. A store that a bridge uses is refused, and one that holds
resources too, unless --replace is given. An export of an older version is migrated.`,
		Example: `  opi-bridge store import --store bolt:///var/lib/opi-bridge/state.db --input dpu-1.export`,
	}
	p.define(cmd, env)
	cmd.Flags().StringVar(&input, "input", "-", "the export; - for standard input")
	cmd.Flags().BoolVar(&replace, "replace", false, "give up the resources that the store holds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, err := readExport(input, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if err := p.restore(cmd.Context(), m, replace); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "imported %d resources\n", len(m.Documents))
		return err
	}
	return cmd
}

func verifyCommand(env func(string) (string, bool)) *cobra.Command {
	var p place
	var input string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check what a store or an export holds",
		Long: `Check what a store or an export holds and print what is wrong, one line each: formats, checksum,
revisions, records that cannot be read, references to what is not there, what two have and only
one may, and with --secret-key-file whether the sealed secrets open. Nothing is changed.`,
		Example: `  opi-bridge store verify --store redis://127.0.0.1:6379/0 --instance dpu-1
  opi-bridge store verify --input dpu-1.export --secret-key-file /etc/opi-bridge/seal.key`,
	}
	p.define(cmd, env)
	cmd.Flags().StringVar(&input, "input", "", "an export to check instead of a store; - for standard input")
	cmd.Flags().StringVar(&p.secretKeyFile, "secret-key-file", "", "file with the keys that seal secrets; they are left closed when empty")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, err := p.image(cmd.Context(), input, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return p.verify(cmd.OutOrStdout(), m)
	}
	return cmd
}

// image returns what verify is about.
func (p *place) image(ctx context.Context, input string, stdin io.Reader) (store.Image, error) {
	if input == "" {
		return p.dump(ctx)
	}
	return readExport(input, stdin)
}

// verify prints what is wrong with an image.
func (p *place) verify(out io.Writer, m store.Image) error {
	all, err := kinds.All()
	if err != nil {
		return err
	}
	var sealer *secret.Sealer
	if p.secretKeyFile != "" {
		if sealer, err = secret.LoadKeyFile(p.secretKeyFile); err != nil {
			return err
		}
	}
	// An image that was read from a store has passed no check of an export yet.
	var findings []engine.Finding
	revisions := map[uint64]string{}
	for _, d := range m.Documents {
		if other, taken := revisions[d.Revision]; taken || d.Revision > m.Revision {
			findings = append(findings, engine.Finding{Name: resource.Name(d.Name), Text: fmt.Sprintf("revision %d is above the counter (%d), or that of %q too", d.Revision, m.Revision, other)})
		}
		revisions[d.Revision] = d.Name
	}
	records, err := engine.Check(m.Documents, all, sealer)
	if err != nil {
		return err
	}
	findings = append(findings, records...)
	for _, f := range findings {
		if _, err := fmt.Fprintf(out, "%s: %s\n", f.Name, f.Text); err != nil {
			return err
		}
	}
	if len(findings) > 0 {
		return fmt.Errorf("%w: %d findings in %d resources", errFindings, len(findings), len(m.Documents))
	}
	sealed := 0
	for _, d := range m.Documents {
		if d.Sealed != nil {
			sealed++
		}
	}
	opened := "all opened"
	if sealer == nil {
		opened = "not opened, for want of --secret-key-file"
	}
	_, err = fmt.Fprintf(out, "format %d, %d resources: nothing is wrong; %d with secrets, %s\n", m.Format, len(m.Documents), sealed, opened)
	return err
}

// dump reads a store.
func (p *place) dump(ctx context.Context) (m store.Image, err error) {
	if schemeOf(p.store) == bolt.Scheme {
		return bolt.Dump(bolt.Config{URL: p.store, Schema: p.schema()})
	}
	err = p.redis(ctx, func(ctx context.Context, s *redis.Store) error {
		m, err = s.Dump(ctx)
		return err
	})
	return m, err
}

// restore writes a store.
func (p *place) restore(ctx context.Context, m store.Image, replace bool) error {
	if schemeOf(p.store) == bolt.Scheme {
		return bolt.Restore(bolt.Config{URL: p.store, Schema: p.schema()}, m, replace)
	}
	return p.redis(ctx, func(ctx context.Context, s *redis.Store) error { return s.Restore(ctx, m, replace) })
}

// redis calls f with the store in Redis.
func (p *place) redis(ctx context.Context, f func(context.Context, *redis.Store) error) error {
	if p.store == "" {
		return errors.New("--store: say which store")
	}
	if err := checkStore(p.store); err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	if !instanceName.MatchString(p.instance) {
		return fmt.Errorf("--instance: %q is no name of an instance", p.instance)
	}
	redis.LogTo(slog.New(slog.DiscardHandler)) // what matters comes as an error
	s, err := redis.New(redis.Config{URL: p.store, Instance: p.instance, Schema: p.schema(), Timeout: moveStep})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	return errors.Join(f(ctx, s), s.Close())
}

func (*place) schema() store.Schema {
	return store.Schema{WrittenBy: telemetry.ReadBuild(version).Version}
}

// readExport reads an export from a file, or from standard input.
func readExport(input string, stdin io.Reader) (store.Image, error) {
	if input == "-" {
		return store.ReadImage(stdin)
	}
	file, err := os.Open(input) //nolint:gosec // the operator names the file
	if err != nil {
		return store.Image{}, err
	}
	m, err := store.ReadImage(file)
	if err != nil {
		err = fmt.Errorf("%s: %w", input, err)
	}
	return m, errors.Join(err, file.Close())
}

// writeFile makes a file, mode 0600, that appears with all of its content.
func writeFile(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
