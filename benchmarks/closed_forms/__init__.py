"""What contact, friction and a pendulum must do, known without a simulator, and what naive simulators make of it."""
