// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Register makes the account of cfg on a server with open registration
// (XEP-0077 §usecases-register @2.4). When the server refuses, the error is a
// *stanza.Error: with the condition conflict when the account is there already.
func Register(ctx context.Context, cfg Config) error {
	s := newSession(cfg)
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.wire.close()
	stop := context.AfterFunc(ctx, s.wire.close)
	err := s.register(ctx)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("client: registration: %w", err)
	}
	return nil
}

func (s *Session) register(ctx context.Context) error {
	features, err := s.begin()
	if err == nil && !s.wire.secure() {
		_, err = s.upgrade(ctx, features)
	}
	if err != nil {
		return err
	}
	query := xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.NewText(stanza.NSRegister, "username", s.cfg.local()),
		xmlstream.NewText(stanza.NSRegister, "password", s.cfg.Password))
	if err := s.tell(xmlstream.New(stanza.NSClient, "iq", "type", "set", "id", "register", "to", s.cfg.domain()).Add(query)); err != nil {
		return err
	}
	answer, err := s.expect(stanza.NSClient, "iq")
	if err != nil {
		return err
	}
	if answer.Get("type") != "result" {
		return errorOf(answer)
	}
	return nil
}
