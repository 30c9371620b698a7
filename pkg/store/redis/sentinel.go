// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// sentinels are asked which server is the master. The driver can do that too, but not tell what else
// they know: how many replicas may take the master's place.
type sentinels struct {
	options goredis.Options // of a connection to any of them
	addrs   []string
	name    string // of the master
}

// view is what one sentinel knows of the master.
type view struct {
	addr  string
	epoch uint64 // of its configuration: the highest is the newest
	// replicas counts those that may take its place: those that are not down and do not take themselves
	// for the master still, or all of them where this sentinel does not see most of the others, so that
	// it may know nothing of what they do.
	replicas int
}

// look asks all sentinels and returns the newest view.
func (s *sentinels) look(ctx context.Context) (view, error) {
	views, errs := make([]view, len(s.addrs)), make([]error, len(s.addrs))
	var all sync.WaitGroup
	for i, addr := range s.addrs {
		all.Go(func() {
			if views[i], errs[i] = s.ask(ctx, addr); errs[i] != nil {
				errs[i] = fmt.Errorf("sentinel %s: %w", addr, errs[i])
			}
		})
	}
	all.Wait()
	var newest view
	for _, v := range views {
		if v.addr != "" && (newest.addr == "" || v.epoch > newest.epoch) {
			newest = v
		}
	}
	if newest.addr == "" {
		return view{}, fmt.Errorf("no sentinel names the master %q: %w", s.name, errors.Join(errs...))
	}
	return newest, nil
}

// ask asks one sentinel.
func (s *sentinels) ask(ctx context.Context, addr string) (view, error) {
	options := s.options
	options.Addr = addr
	client := goredis.NewSentinelClient(&options)
	defer func() { _ = client.Close() }()
	master, err := client.Master(ctx, s.name).Result()
	if err != nil {
		return view{}, err
	}
	replicas, err := client.Replicas(ctx, s.name).Result()
	if err != nil {
		return view{}, err
	}
	quorum := client.CkQuorum(ctx, s.name).Err()
	if quorum != nil && !isAnswer(quorum) {
		return view{}, quorum
	}
	v := view{addr: net.JoinHostPort(master["ip"], master["port"])}
	if v.epoch, err = strconv.ParseUint(master["config-epoch"], 10, 64); err != nil {
		return view{}, fmt.Errorf("config-epoch: %w", err)
	}
	for _, replica := range replicas {
		if quorum != nil || !strings.Contains(replica["flags"], "s_down") && replica["role-reported"] != "master" {
			v.replicas++
		}
	}
	return v, nil
}
