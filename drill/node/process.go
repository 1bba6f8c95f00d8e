// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a program with a process group of its own.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; read after exited is closed
}

// launch starts cmd. On Linux it dies with us.
func (p *process) launch(cmd *exec.Cmd) error {
	p.cmd, p.exited = cmd, make(chan struct{})
	cmd.SysProcAttr = attributes()
	started := make(chan error, 1)
	go func() {
		// On Linux, the kernel sends Pdeathsig when the thread that started the process ends,
		// so this one is kept until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return nil
}

// PID of the process.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *process) Exited() <-chan struct{} { return p.exited }

// Kill ends the process with SIGKILL and waits for its end. Killing it again
// does nothing.
func (p *process) Kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails only when it has ended
	<-p.exited
}

// Freeze stops the process without ending it (SIGSTOP), until Thaw: it holds its
// connections and answers nobody.
func (p *process) Freeze() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP) }

// Thaw lets it go on.
func (p *process) Thaw() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT) }
