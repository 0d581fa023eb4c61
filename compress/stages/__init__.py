"""What each command does, one public function each."""
