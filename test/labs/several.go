// SPDX-License-Identifier: Apache-2.0

package labs

import "sync"

// Several calls open n times, eight at a time: sshd drops logins beyond ten that are under way (MaxStartups).
// It returns what was opened, and why the others were not.
func Several[T any](n int, open func() (T, error)) (all []T, errs []error) {
	const atOnce = 8
	var mu sync.Mutex
	var running sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for range n {
		turns <- struct{}{}
		running.Go(func() {
			opened, err := open()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				all = append(all, opened)
			}
			<-turns
		})
	}
	running.Wait()
	return all, errs
}
