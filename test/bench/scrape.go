// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

const (
	scrapes      = 25
	scrapeRounds = 16
	scrapeLength = 4000 // connections in each block of a round: longer than scrapeEvery
	scrapeEvery  = 100 * time.Millisecond
	noEffect     = 1.01 // times the floor is within what the floor itself moves
)

// A scraper asks for metrics as Prometheus does, compressed.
type scraper struct {
	client http.Client
	bytes  int64 // of the last answer
}

func newScraper(socket string) *scraper {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &scraper{client: http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

func (s *scraper) scrape() (took time.Duration, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	start := time.Now()
	r, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("scrape: %w", err)
	}
	s.bytes, err = io.Copy(io.Discard, r.Body)
	took = time.Since(start)
	if err = errors.Join(err, r.Body.Close()); err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("scrape: %s", r.Status)
	}
	return took, err
}

// during scrapes each scrapeEvery while do runs.
func (s *scraper) during(do func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(scrapeEvery)
		defer tick.Stop()
		for {
			if _, err := s.scrape(); err != nil {
				ended <- err
				return
			}
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-tick.C:
			}
		}
	}()
	err := do()
	stop()
	return errors.Join(err, <-ended)
}

// measureScrape adds what a scrape of a node with many services takes, each of which was
// connected to, and what scraping does to connect().
func (b *bench) measureScrape() error {
	f, err := newFleet(b.mode, smallFleet)
	if err != nil {
		return err
	}
	socket := filepath.Join(b.stateDir, "admin")
	l, err := b.startLive(f, "delta", "--admin-address", "unix:"+socket)
	if err != nil {
		return err
	}
	_, err = l.unless(b.scrapeFleet(f, l, newScraper(socket)))
	if err != nil {
		return err
	}
	return l.stop()
}

func (b *bench) scrapeFleet(f *fleet, l *live, s *scraper) error {
	defer s.client.CloseIdleConnections()
	if err := l.play(f.all); err != nil {
		return err
	}
	if err := l.ready(); err != nil {
		return err
	}
	for i := range f.Services {
		if err := b.arrives(f.VIP(i), f.Of(i)...); err != nil {
			return fmt.Errorf("connect to service %d: %w", i, err)
		}
	}
	var ms []float64
	before, err := l.cpu()
	if err != nil {
		return err
	}
	for range scrapes {
		took, err := s.scrape()
		if err != nil {
			return err
		}
		ms = append(ms, millis(took))
		time.Sleep(min(12*took, 1100*time.Millisecond)) // a reading is kept for a while
	}
	after, err := l.cpu()
	if err != nil {
		return err
	}
	b.report.add(row{Figure: "metrics scrape, 1 000 services", Unit: "ms", Target: some(50),
		Note: fmt.Sprintf("all of them connected to and named; %.1f ms of CPU time each; %d KB, gzip",
			millis(after-before)/scrapes, s.bytes/1000)}.from(ms))
	return b.scrapedConnects(f, s)
}

// scrapedConnects adds the median connect() while nobody scrapes, and while somebody does
// all the time, in blocks that alternate. Workload mode counts connects by service for some
// minutes after a scrape: that is ended where nobody scrapes.
func (b *bench) scrapedConnects(f *fleet, s *scraper) error {
	to, at := f.VIP(0), f.Of(0)
	var us [2][]float64
	for i := range scrapeRounds {
		for j := range us {
			k := (i + j) % len(us)
			block := func() error {
				return b.enrolled.inside(func() error {
					a, err := b.enrolled.connectTo(b.enrolled.listeners[at[0].Port()], scrapeLength, to)
					if err != nil {
						return err
					}
					us[k] = append(us[k], float64(median(a.nanos))/1000)
					return a.expect(at...)
				})
			}
			var err error
			if k == 0 {
				if err = clearEntry(filepath.Join(b.pins("map"), "km_watch"), 64); err == nil {
					err = block()
				}
			} else {
				err = s.during(block)
			}
			if err != nil {
				return err
			}
		}
	}
	b.report.add(row{Figure: "connect() p50, scraped each 100 ms", Unit: "us", Floor: some(median(us[0])), Target: some(noEffect * median(us[0])),
		Note: fmt.Sprintf("floor: while nobody scrapes, and services are not counted for that, blocks of %d in turn; difference %.2f us", scrapeLength, median(apart(us[1], us[0])))}.from(us[1]))
	return nil
}
