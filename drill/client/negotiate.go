// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// negotiate runs the login script until the stream is resumed or bound.
func (s *Session) negotiate(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.wire.close)
	err := s.login(ctx)
	if !stop() && ctx.Err() != nil {
		return fmt.Errorf("client: login: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("client: login: %w", err)
	}
	return nil
}

func (s *Session) login(ctx context.Context) error {
	features, err := s.begin()
	if err != nil {
		return err
	}
	if s.unheard != nil {
		s.unheard.Stop()
	}
	if !s.wire.secure() {
		if features, err = s.upgrade(ctx, features); err != nil {
			return err
		}
	}
	if s.cfg.Token != nil {
		return s.enter(features)
	}
	if err := s.authenticate(features); err != nil {
		return err
	}
	if features, err = s.begin(); err != nil {
		return err
	}
	if s.cfg.Resume != nil {
		if err := s.resume(s.cfg.Resume.sm); err != nil || s.resumed {
			return err
		}
	}
	if err := s.bind(); err != nil {
		return err
	}
	s.stream = s.jid + "#" + itoa(int(time.Now().UnixNano()))
	if s.cfg.NoStreamManagement {
		return nil
	}
	if features.Child(stanza.NSSM, "sm") == nil {
		return fmt.Errorf("%w: no stream management on offer", ErrProtocol)
	}
	return s.enable()
}

// begin starts the stream and reads its features (RFC 6120 §4.3.2).
func (s *Session) begin() (*xmlstream.Element, error) {
	if err := s.wire.open(); err != nil {
		return nil, err
	}
	return s.expect(stanza.NSStream, "features")
}

// tell writes one element during the login.
func (s *Session) tell(e *xmlstream.Element) error {
	var f frames
	f.add(s.wire, e)
	return s.wire.write(f, time.Now().Add(s.cfg.WriteTimeout))
}

// next reads one element during the login; a stream error is an error.
func (s *Session) next() (*xmlstream.Element, error) {
	e, err := s.wire.read()
	if err != nil {
		return nil, err
	}
	if e.Is(stanza.NSStream, "error") {
		return nil, streamError(e)
	}
	return e, nil
}

func (s *Session) expect(space, local string) (*xmlstream.Element, error) {
	e, err := s.next()
	if err != nil {
		return nil, err
	}
	if !e.Is(space, local) {
		return nil, fmt.Errorf("%w: <%s xmlns=%q/> instead of <%s/>", ErrProtocol, e.Name.Local, e.Name.Space, local)
	}
	return e, nil
}

// upgrade does STARTTLS (RFC 6120 §5.4).
func (s *Session) upgrade(ctx context.Context, features *xmlstream.Element) (*xmlstream.Element, error) {
	if features.Child(stanza.NSTLS, "starttls") == nil {
		return nil, fmt.Errorf("%w: no STARTTLS on offer", ErrProtocol)
	}
	if err := s.tell(xmlstream.New(stanza.NSTLS, "starttls")); err != nil {
		return nil, err
	}
	if _, err := s.expect(stanza.NSTLS, "proceed"); err != nil {
		return nil, err
	}
	if err := s.wire.startTLS(ctx); err != nil {
		return nil, fmt.Errorf("STARTTLS: %w", err)
	}
	return s.begin()
}

// offer is what the server's features say about logging in.
type offer struct{ mechanisms, bindings []string }

func offerOf(features *xmlstream.Element) offer {
	var o offer
	if list := features.Child(stanza.NSSASL, "mechanisms"); list != nil {
		for _, m := range list.Elements() {
			o.mechanisms = append(o.mechanisms, m.Text())
		}
	}
	if list := features.Child(stanza.NSSASLCB, "sasl-channel-binding"); list != nil { // XEP-0440 §sasl-cb-type @1.0.0
		for _, b := range list.Elements() {
			o.bindings = append(o.bindings, b.Get("type"))
		}
	}
	return o
}

// text is what XEP-0474 §hash @0.5.0 hashes.
func (o offer) text() string {
	s := strings.Join(slices.Sorted(slices.Values(o.mechanisms)), "\x1e")
	if len(o.bindings) > 0 {
		s += "\x1f" + strings.Join(slices.Sorted(slices.Values(o.bindings)), "\x1e")
	}
	return s
}

// mechanism chooses how to authenticate.
func (s *Session) mechanism(o offer) (string, error) {
	offered := o.mechanisms
	wanted := []string{scramSHA256, scramSHA1}
	if _, ok := s.wire.state(); ok {
		wanted = append([]string{scramSHA256 + plusSuffix, scramSHA1 + plusSuffix}, wanted...)
	}
	if s.cfg.Mechanism != "" {
		wanted = []string{s.cfg.Mechanism}
	}
	for _, m := range wanted {
		if slices.Contains(offered, m) {
			return m, nil
		}
	}
	return "", fmt.Errorf("%w: none of %v on offer, but %v", ErrAuth, wanted, offered)
}

// authenticate runs SASL (RFC 6120 §6.4) with SCRAM, or with PLAIN when the
// configuration names it.
func (s *Session) authenticate(features *xmlstream.Element) error {
	o := offerOf(features)
	mechanism, err := s.mechanism(o)
	if err != nil {
		return err
	}
	sasl := func(local string, data []byte) *xmlstream.Element {
		return xmlstream.NewText(stanza.NSSASL, local, base64.StdEncoding.EncodeToString(data))
	}
	if mechanism == "PLAIN" {
		auth := sasl("auth", []byte("\x00"+s.cfg.local()+"\x00"+s.cfg.Password)).Set("mechanism", mechanism)
		_, err := s.challenge(auth, "success")
		return err
	}
	c, err := newScram(mechanism, s.cfg.local(), s.cfg.Password, s.cfg.Keys)
	if err != nil {
		return err
	}
	c.offered = o.text()
	if err := s.bindChannel(c, mechanism, o); err != nil {
		return err
	}
	first, err := s.challenge(sasl("auth", c.start()).Set("mechanism", mechanism), "challenge")
	if err != nil {
		return err
	}
	answer, err := c.answer(first)
	if err != nil {
		return err
	}
	final, err := s.challenge(sasl("response", answer), "success")
	if err != nil {
		return err
	}
	return c.finish(final)
}

// bindChannel sets the GS2 header (RFC 5802 §6): bound to the channel with a
// -PLUS mechanism; else with a word on whether the server could.
func (s *Session) bindChannel(c *scram, mechanism string, o offer) error {
	state, ok := s.wire.state()
	switch plus := strings.HasSuffix(mechanism, plusSuffix); {
	case !plus && ok && !slices.ContainsFunc(o.mechanisms, func(m string) bool { return strings.HasSuffix(m, plusSuffix) }):
		c.gs2 = "y,,"
		return nil
	case !plus:
		return nil
	case !ok:
		return errors.New("client: no TLS to bind to")
	}
	typ := s.cfg.Binding
	if typ == "" {
		typ = "tls-exporter"
	}
	var err error
	c.binding, err = bindingOf(typ, state)
	c.gs2 = "p=" + typ + ",,"
	return err
}

// challenge sends a SASL element and returns the data of the server's answer.
func (s *Session) challenge(e *xmlstream.Element, want string) ([]byte, error) {
	if err := s.tell(e); err != nil {
		return nil, err
	}
	answer, err := s.next()
	if err != nil {
		return nil, err
	}
	switch {
	case answer.Is(stanza.NSSASL, "failure"):
		condition := answer.First()
		if condition == nil {
			return nil, ErrAuth
		}
		return nil, fmt.Errorf("%w: %s", ErrAuth, condition.Name.Local)
	case !answer.Is(stanza.NSSASL, want):
		return nil, fmt.Errorf("%w: <%s/> instead of SASL's <%s/>", ErrProtocol, answer.Name.Local, want)
	}
	data, err := base64.StdEncoding.DecodeString(answer.Text())
	if err != nil {
		return nil, fmt.Errorf("%w: SASL data: %w", ErrProtocol, err)
	}
	return data, nil
}

// resume tries to take up the former stream (XEP-0198 §resumption @1.6.3). When
// the server refuses, what its h tells is taken note of, and a fresh session
// follows.
func (s *Session) resume(sm *management) error {
	if err := s.tell(resumeOf(sm)); err != nil {
		return err
	}
	answer, err := s.next()
	if err != nil {
		return err
	}
	return s.took(sm, answer)
}

func resumeOf(sm *management) *xmlstream.Element {
	return xmlstream.New(stanza.NSSM, "resume", "previd", sm.id, "h", strconv.FormatUint(uint64(sm.in), 10))
}

// took takes in the answer to <resume/>.
func (s *Session) took(sm *management, answer *xmlstream.Element) error {
	switch {
	case answer.Is(stanza.NSSM, "resumed"):
		if answer.Get("previd") != sm.id {
			return fmt.Errorf("%w: resumed another stream", ErrProtocol)
		}
		handled, err := sm.acknowledge(answer.Get("h"))
		if err != nil {
			return err
		}
		s.sm, s.stream, s.jid, s.seq, s.resumed = sm, sm.stream, sm.jid, sm.seq, true
		s.tick(handled)
		return nil
	case answer.Is(stanza.NSSM, "failed"):
		h, ok := answer.Lookup("h")
		if !ok {
			return nil
		}
		handled, err := sm.atLeast(h)
		s.tick(handled)
		return err
	}
	return fmt.Errorf("%w: <%s/> for <resume/>", ErrProtocol, answer.Name.Local)
}

// bind asks for a resource (RFC 6120 §7.6, §7.7).
func (s *Session) bind() error {
	request := xmlstream.New(stanza.NSBind, "bind")
	if s.cfg.Resource != "" {
		request.Add(xmlstream.NewText(stanza.NSBind, "resource", s.cfg.Resource))
	}
	if err := s.tell(xmlstream.New(stanza.NSClient, "iq", "type", "set", "id", "bind").Add(request)); err != nil {
		return err
	}
	answer, err := s.expect(stanza.NSClient, "iq")
	if err != nil {
		return err
	}
	if answer.Get("type") != "result" {
		return fmt.Errorf("bind: %w", errorOf(answer))
	}
	if jid := answer.Child(stanza.NSBind, "bind").Child(stanza.NSBind, "jid"); jid != nil {
		s.jid = jid.Text()
	}
	if Bare(s.jid) != s.cfg.JID {
		return fmt.Errorf("%w: bound as %q", ErrProtocol, s.jid)
	}
	return nil
}

// enable turns stream management on (XEP-0198 §enable @1.6.3).
func (s *Session) enable() error {
	if err := s.tell(xmlstream.New(stanza.NSSM, "enable", "resume", "true")); err != nil {
		return err
	}
	answer, err := s.next()
	if err != nil {
		return err
	}
	return s.managed(answer)
}

// managed takes in the answer to <enable/>.
func (s *Session) managed(answer *xmlstream.Element) error {
	if !answer.Is(stanza.NSSM, "enabled") {
		return errors.New("stream management refused")
	}
	s.sm = &management{stream: s.stream, jid: s.jid}
	if resume := answer.Get("resume"); resume == "true" || resume == "1" {
		s.sm.id = answer.Get("id")
	}
	return nil
}
